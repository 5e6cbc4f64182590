// One TCP rail over loopback against plain blocking sockets of the same sizes, in one run:
//   tcp_benchmark --benchmark_repetitions=7 --benchmark_enable_random_interleaving=true
// Bandwidth: one direction, many puts under way. Latency: half a round trip, both sides polling
// (the plain one by non-blocking receives; its blocking form is there too).
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <thread>
#include <vector>

#include "src/base/unique_fd.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl {
namespace {

using Kind = RailEvent::Kind;

// ---- plain sockets -----------------------------------------------------------------------------

struct SocketPair {
  UniqueFd client;
  UniqueFd server;
};

SocketPair connect_plain() {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener.get(), generic, size) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), generic, &size) != 0) {
    std::abort();
  }
  SocketPair pair{UniqueFd(socket(AF_INET, SOCK_STREAM, 0)), {}};
  if (connect(pair.client.get(), generic, size) != 0) std::abort();
  pair.server.reset(accept(listener.get(), nullptr, nullptr));
  for (const int fd : {pair.client.get(), pair.server.get()}) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return pair;
}

void send_fully(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) std::abort();
    data += sent;
    size -= static_cast<size_t>(sent);
  }
}

// False: the other side has ended.
bool receive_fully(int fd, char* data, size_t size, int flags) {
  while (size > 0) {
    const ssize_t received = recv(fd, data, size, flags);
    if (received == 0) return false;
    if (received < 0) {
      if (errno == EAGAIN) continue;
      std::abort();
    }
    data += received;
    size -= static_cast<size_t>(received);
  }
  return true;
}

constexpr int kPutsPerIteration = 64;

void plain_bandwidth(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  const SocketPair pair = connect_plain();
  std::thread receiver([&] {
    std::vector<char> buffer(bytes * kPutsPerIteration);
    for (size_t slot = 0;; slot = (slot + 1) % kPutsPerIteration) {
      if (!receive_fully(pair.server.get(), buffer.data() + slot * bytes, bytes, 0)) return;
      if (slot + 1 == kPutsPerIteration) send_fully(pair.server.get(), "x", 1);
    }
  });
  const std::vector<char> data(bytes * kPutsPerIteration, 1);
  char done = 0;
  // One iteration's acknowledgement is waited for only when the next one is sent: no gap between.
  bool pending = false;
  for (auto _ : state) {
    for (int i = 0; i < kPutsPerIteration; ++i) {
      send_fully(pair.client.get(), data.data() + static_cast<size_t>(i) * bytes, bytes);
    }
    if (pending) receive_fully(pair.client.get(), &done, 1, 0);
    pending = true;
  }
  receive_fully(pair.client.get(), &done, 1, 0);
  shutdown(pair.client.get(), SHUT_WR);
  receiver.join();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kPutsPerIteration * bytes));
}

void plain_latency(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  const int flags = state.range(1) != 0 ? MSG_DONTWAIT : 0;
  const SocketPair pair = connect_plain();
  std::thread echo([&] {
    std::vector<char> buffer(bytes);
    while (receive_fully(pair.server.get(), buffer.data(), bytes, flags)) {
      send_fully(pair.server.get(), buffer.data(), bytes);
    }
  });
  std::vector<char> buffer(bytes, 1);
  for (auto _ : state) {
    send_fully(pair.client.get(), buffer.data(), bytes);
    receive_fully(pair.client.get(), buffer.data(), bytes, flags);
  }
  shutdown(pair.client.get(), SHUT_WR);
  echo.join();
  state.counters["one_way_us"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 2e-6,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// ---- rails -------------------------------------------------------------------------------------

class CountingSink final : public EventSink {
 public:
  void on_event(const RailEvent& event) override {
    if (event.kind == Kind::kConnected) connected = true;
    if (event.kind == Kind::kPutDone) ++done;
    if (event.kind == Kind::kNotification) {
      ++notified;
      if (answer) answer();
    }
    if (event.kind == Kind::kFailed) failed = true;
  }
  bool connected = false;
  bool failed = false;
  uint64_t done = 0;
  uint64_t notified = 0;
  std::function<void()> answer;  // to each notification
};

// One end: a rail, an endpoint, memory.
struct End {
  explicit End(const char* ip, size_t bytes) : memory(bytes, std::byte{1}) {
    TcpRailConfig config{.interface_name = "lo", .address = *net::SocketAddress::parse(ip)};
    config.info.name = ip;
    rail = *open_tcp_rail(config, {});
    registration = *rail->register_memory({.address = memory.data(), .bytes = memory.size()});
    endpoint = *rail->open_endpoint(1);
  }
  void progress() { rail->progress(system_clock().now_ns(), sink); }
  Put put_to(const End& other, size_t slot, size_t bytes, bool notify) const {
    return {.source = registration.get(),
            .source_offset = slot * bytes,
            .bytes = bytes,
            .remote_key = other.registration->key(),
            .remote_offset = slot * bytes,
            .notify = notify};
  }

  std::vector<std::byte> memory;
  CountingSink sink;
  std::unique_ptr<Rail> rail;
  std::unique_ptr<Registration> registration;
  std::unique_ptr<Endpoint> endpoint;
};

void connect_ends(End& one, End& other) {
  if (!one.endpoint->connect(other.endpoint->address()) ||
      !other.endpoint->connect(one.endpoint->address())) {
    std::abort();
  }
  while (!one.sink.connected || !other.sink.connected) {
    one.progress();
    other.progress();
  }
}

void rail_bandwidth(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  End sender("127.0.0.1", bytes * kPutsPerIteration);
  End receiver("127.0.0.2", bytes * kPutsPerIteration);
  connect_ends(sender, receiver);
  std::atomic<bool> stop = false;
  std::thread progress([&] {
    while (!stop.load(std::memory_order_relaxed)) receiver.progress();
  });
  uint64_t posted = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kPutsPerIteration; ++posted, ++i) {
      while (!sender.endpoint->put(sender.put_to(receiver, i, bytes, true))) sender.progress();
      sender.progress();
    }
    while (sender.sink.done + kPutsPerIteration < posted) sender.progress();
  }
  while (sender.sink.done < posted && !sender.sink.failed) sender.progress();
  stop = true;
  progress.join();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kPutsPerIteration * bytes));
}

void rail_latency(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  End ping("127.0.0.1", bytes);
  End pong("127.0.0.2", bytes);
  connect_ends(ping, pong);
  // The answer is put from inside of the event, as the executor of a schedule does.
  pong.sink.answer = [&] {
    if (!pong.endpoint->put(pong.put_to(ping, 0, bytes, true))) std::abort();
  };
  std::atomic<bool> stop = false;
  std::thread echo([&] {
    while (!stop.load(std::memory_order_relaxed)) pong.progress();
  });
  ping.sink.answer = [&] {
    if (!ping.endpoint->put(ping.put_to(pong, 0, bytes, true))) std::abort();
  };
  ping.sink.answer();
  for (auto _ : state) {
    const uint64_t before = ping.sink.notified;
    while (ping.sink.notified == before) ping.progress();
  }
  stop = true;
  echo.join();
  state.counters["one_way_us"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 2e-6,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

BENCHMARK(plain_bandwidth)->Arg(64 << 10)->Arg(256 << 10)->Arg(1 << 20)->UseRealTime();
BENCHMARK(rail_bandwidth)->Arg(64 << 10)->Arg(256 << 10)->Arg(1 << 20)->UseRealTime();
BENCHMARK(plain_latency)
    ->ArgNames({"bytes", "polling"})
    ->Args({64, 0})
    ->Args({64, 1})
    ->UseRealTime();
BENCHMARK(rail_latency)->Arg(64)->UseRealTime();

}  // namespace
}  // namespace railccl
