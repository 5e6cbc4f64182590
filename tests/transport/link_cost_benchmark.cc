// What the tracking of chunks costs: one link with two rails, in one thread, over simulated rails
// without data and over verbs rails whose NICs copy at once (the processor's part alone), and over
// TCP on loopback. The program is built twice, as link_cost and as link_cost_untracked;
// tests/benchmarks/tracking_cost.py runs them in turn.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/transport/fake_verbs.h"
#include "tests/transport/link_cost.h"
#include "transport/link.h"
#include "transport/sim/sim_network.h"
#include "transport/tcp/tcp_transport.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl {
namespace {

constexpr uint64_t kTagBase = 100;
constexpr int kRails = 2;
constexpr uint64_t kWindow = 8;  // puts under way

class Side final : public LinkSink, public EventSink {
 public:
  void on_connected(int) override {}
  void on_put_done(int, uint64_t, const Status& status) override {
    if (!status) std::abort();
    ++done;
  }
  void on_notification(int, uint64_t) override { ++notified; }
  void on_message(int, std::span<const std::byte>) override {}
  void on_failed(int, const Status&) override { std::abort(); }
  void send_on_control_path(int, std::span<const std::byte>) override {}
  void on_event(const RailEvent& event) override {
    link->on_rail_event(static_cast<int>(event.endpoint_tag - kTagBase), event, now);
  }

  void add_rail(std::unique_ptr<Rail> rail) {
    rails.push_back(decorator->decorate(std::move(rail)));
  }
  void make_link(int self) {
    LinkOptions options{.self = self, .peer = 1 - self};
    std::vector<Rail*> pointers;
    for (int i = 0; i < kRails; ++i) {
      options.pairs.push_back({.local_rail = i, .peer_rail = i});
      pointers.push_back(rails[static_cast<size_t>(i)].get());
    }
    link = *Link::create(options, pointers, kTagBase, *this);
  }
  void make_buffer(size_t bytes) {
    memory.resize(bytes);
    buffer.region = {.address = memory.data(), .bytes = bytes};
    for (const auto& rail : rails) buffer.on_rail.push_back(*rail->register_memory(buffer.region));
    remote = describe(buffer);
  }
  bool progress(TimeNs time) {
    now = time;
    bool did = false;
    for (const auto& rail : rails) did |= rail->progress(now, *this);
    return link->progress(now) || did;
  }

  std::unique_ptr<RailDecorator> decorator = make_rail_decorator();
  std::vector<std::unique_ptr<Rail>> rails;
  std::vector<std::byte> memory;
  RegisteredBuffer buffer;
  RemoteBuffer remote;
  std::unique_ptr<Link> link;
  TimeNs now = 0;
  uint64_t done = 0;
  uint64_t notified = 0;
};

enum class Over : uint8_t { kSimulated, kVerbs, kTcp };

// Two sides and their time.
class World {
 public:
  World(Over over, size_t bytes) : over_(over) {
    verbs_.delivers = true;
    for (int side = 0; side < 2; ++side) {
      for (int rail = 0; rail < kRails; ++rail) at(side).add_rail(make_rail(side, rail));
      at(side).make_buffer(bytes);
      at(side).make_link(side);
    }
    for (int side = 0; side < 2; ++side) {
      if (!at(side).link->connect(at(1 - side).link->address(), now())) std::abort();
    }
    while (!at(0).link->connected() || !at(1).link->connected()) step();
  }
  ~World() {
    for (Side& side : sides_) {
      side.link.reset();
      side.buffer.on_rail.clear();
      side.rails.clear();
    }
  }

  Side& at(int side) { return sides_[static_cast<size_t>(side)]; }
  void put(int from, size_t bytes) {
    const LinkPut put{.source = &at(from).buffer, .bytes = bytes, .target = &at(1 - from).remote};
    if (!at(from).link->put(put, now())) std::abort();
  }
  void step() {
    const TimeNs time = now();
    const bool did = at(0).progress(time) | at(1).progress(time);
    if (did || over_ != Over::kSimulated) return;
    if (!network_.advance()) network_.advance_to(network_.now() + 1000);
  }

 private:
  TimeNs now() const {
    return over_ == Over::kSimulated ? network_.now() : system_clock().now_ns();
  }
  std::unique_ptr<Rail> make_rail(int side, int rail) {
    const std::string name = fmt::format("side{}rail{}", side, rail);
    if (over_ == Over::kSimulated) return network_.add_rail({.name = name});
    if (over_ == Over::kVerbs) return make_verbs_rail(name, fmt::format("10.0.{}.{}", rail, side));
    const std::string ip = fmt::format("127.0.{}.{}", side, rail + 1);
    TcpRailConfig config{.interface_name = "lo", .address = *net::SocketAddress::parse(ip)};
    config.info.name = ip;
    return *open_tcp_rail(config, {});
  }

  std::unique_ptr<Rail> make_verbs_rail(const std::string& name, const std::string& ip) {
    verbs_.add_device(name, ip);
    const auto found = discover_verbs_rails({}, verbs_.api());
    return *open_verbs_rail(found->rails.back(), {}, verbs_.api());
  }

  Over over_;
  testing_support::FakeVerbs verbs_;
  SimNetwork network_{{.seed = 1, .copy_data = false}};
  std::array<Side, 2> sides_;
};

void stream(benchmark::State& state, Over over) {
  const auto bytes = static_cast<size_t>(state.range(0));
  World world(over, bytes);
  uint64_t posted = 0;
  for (auto _ : state) {
    while (world.at(0).done + kWindow <= posted) world.step();
    world.put(0, bytes);
    ++posted;
  }
  while (world.at(0).done < posted || world.at(1).notified < posted) world.step();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}

// There and back.
void ping_pong(benchmark::State& state, Over over) {
  const auto bytes = static_cast<size_t>(state.range(0));
  World world(over, bytes);
  uint64_t rounds = 0;
  for (auto _ : state) {
    ++rounds;
    for (int from = 0; from < 2; ++from) {
      world.put(from, bytes);
      while (world.at(1 - from).notified < rounds) world.step();
    }
  }
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t bytes : {8, 4096, 64 << 10, 1 << 20, 16 << 20}) benchmark->Arg(bytes);
}
BENCHMARK_CAPTURE(stream, simulated, Over::kSimulated)->Apply(sizes);
BENCHMARK_CAPTURE(stream, verbs, Over::kVerbs)->Apply(sizes);
BENCHMARK_CAPTURE(stream, tcp, Over::kTcp)->Apply(sizes);
BENCHMARK_CAPTURE(ping_pong, simulated, Over::kSimulated)->Arg(8)->Arg(4096);
BENCHMARK_CAPTURE(ping_pong, verbs, Over::kVerbs)->Arg(8)->Arg(4096);
BENCHMARK_CAPTURE(ping_pong, tcp, Over::kTcp)->Arg(8)->Arg(4096);

}  // namespace
}  // namespace railccl
