// The link over real TCP rails on loopback, in real time: data, messages, and a rail that fails.
#include <gtest/gtest.h>

#include <map>

#include "tests/transport/link_world.h"
#include "tests/transport/tcp_pair.h"

namespace railccl::testing_support {
namespace {

constexpr uint64_t kTagBase = 100;
constexpr TimeNs kDeadlineNs = 20 * kSecond;

// One rank: its rails, its link, what came.
struct TcpRank final : LinkSink, EventSink {
  void on_connected(int) override {}
  void on_put_done(int, uint64_t token, const Status& status) override {
    ++done[token];
    EXPECT_TRUE(status.is_ok()) << status.message();
  }
  void on_notification(int, uint64_t tag) override { ++notified[tag]; }
  void on_message(int, std::span<const std::byte> message) override {
    messages.emplace_back(message.begin(), message.end());
  }
  void on_failed(int, const Status& status) override { ADD_FAILURE() << status.message(); }
  void send_on_control_path(int, std::span<const std::byte> bytes) override {
    control.emplace_back(bytes.begin(), bytes.end());
  }
  void on_event(const RailEvent& event) override {
    const TimeNs now = system_clock().now_ns();
    if (event.kind == RailEvent::Kind::kRailDown || event.kind == RailEvent::Kind::kRailUp) {
      link->on_port_event(rail_in_progress, event, now);
    } else {
      link->on_rail_event(static_cast<int>(event.endpoint_tag - kTagBase), event, now);
    }
  }

  std::vector<std::unique_ptr<Rail>> rails;
  std::unique_ptr<Link> link;
  int rail_in_progress = 0;
  std::map<uint64_t, int> done;
  std::map<uint64_t, int> notified;
  std::vector<std::vector<std::byte>> messages;
  std::vector<std::vector<std::byte>> control;
};

class LinkTcp : public testing::Test {
 protected:
  void start(const LinkOptions& given) {
    for (int rank = 0; rank < 2; ++rank) {
      TcpRank& mine = ranks_[static_cast<size_t>(rank)];
      LinkOptions options = given;
      options.self = rank;
      options.peer = 1 - rank;
      std::vector<Rail*> rails;
      for (int i = 0; i < 2; ++i) {
        mine.rails.push_back(open_or_fail(
            loopback_config(fmt::format("127.0.{}.{}", i + 1, rank + 1)), test_options()));
        rails.push_back(mine.rails.back().get());
        options.pairs.push_back({.local_rail = i, .peer_rail = i});
      }
      auto link = Link::create(options, rails, kTagBase, mine);
      ASSERT_TRUE(link) << link.error().message();
      mine.link = std::move(*link);
    }
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(ranks_[i].link->connect(ranks_[1 - i].link->address(), now()).is_ok());
    }
    ASSERT_TRUE(
        run_until([&] { return ranks_[0].link->connected() && ranks_[1].link->connected(); }));
  }

  ~LinkTcp() override {
    for (TcpRank& rank : ranks_) {
      if (rank.link) rank.link->close(Status(Code::kAborted, "test ends"), now());
    }
    EXPECT_TRUE(run_until([&] { return ranks_[0].link->closed() && ranks_[1].link->closed(); }));
    for (TcpRank& rank : ranks_) rank.link.reset();
  }

  static TimeNs now() { return system_clock().now_ns(); }

  bool run_until(const std::function<bool()>& done) {
    const TimeNs deadline = now() + kDeadlineNs;
    while (!done()) {
      if (now() > deadline) return false;
      bool did = false;
      for (size_t i = 0; i < 2; ++i) {
        TcpRank& rank = ranks_[i];
        for (size_t rail = 0; rail < rank.rails.size(); ++rail) {
          rank.rail_in_progress = static_cast<int>(rail);
          did |= rank.rails[rail]->progress(now(), rank);
        }
        did |= rank.link->progress(now());
        const auto control = std::exchange(rank.control, {});
        for (const auto& bytes : control) {
          EXPECT_TRUE(ranks_[1 - i].link->on_control_path(bytes, now()).is_ok());
        }
      }
      if (!did) {
        wait_for_rails({ranks_[0].rails[0].get(), ranks_[0].rails[1].get(),
                        ranks_[1].rails[0].get(), ranks_[1].rails[1].get()},
                       1);
      }
    }
    return true;
  }

  std::unique_ptr<LinkBuffer> make_buffer(size_t rank, size_t bytes) {
    auto buffer = std::make_unique<LinkBuffer>();
    buffer->bytes.resize(bytes);
    buffer->registered.region = {.address = buffer->bytes.data(), .bytes = bytes};
    for (const auto& rail : ranks_[rank].rails) {
      buffer->registered.on_rail.push_back(*rail->register_memory(buffer->registered.region));
    }
    buffer->remote = railccl::describe(buffer->registered);
    return buffer;
  }

  std::array<TcpRank, 2> ranks_;
};

TEST_F(LinkTcp, DataAndMessagesBothWays) {
  start({});
  constexpr size_t kBytes = 5'000'000;
  std::array<std::unique_ptr<LinkBuffer>, 2> sources = {make_buffer(0, kBytes),
                                                        make_buffer(1, kBytes)};
  std::array<std::unique_ptr<LinkBuffer>, 2> targets = {make_buffer(1, kBytes),
                                                        make_buffer(0, kBytes)};
  std::vector<std::byte> message = pattern(3000, 4);
  for (size_t rank = 0; rank < 2; ++rank) {
    fill(*sources[rank], rank);
    const LinkPut put{.token = 1,
                      .source = &sources[rank]->registered,
                      .bytes = kBytes,
                      .target = &targets[rank]->remote,
                      .tag = 7};
    ASSERT_TRUE(ranks_[rank].link->put(put, now()).is_ok());
    ASSERT_TRUE(ranks_[rank].link->send(message, {}, now()).is_ok());
  }
  ASSERT_TRUE(run_until([&] {
    return ranks_[0].done[1] + ranks_[1].done[1] == 2 && ranks_[0].messages.size() == 1 &&
           ranks_[1].messages.size() == 1;
  }));
  for (size_t rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(sources[rank]->bytes == targets[rank]->bytes);
    EXPECT_EQ(ranks_[rank].notified[7], 1);
    EXPECT_EQ(ranks_[rank].messages[0], message);
    for (const LinkRailStats& stats : ranks_[rank].link->stats()) {
      EXPECT_GT(stats.bytes_sent, 0u);
      EXPECT_EQ(stats.failures, 0u);
    }
  }
}

TEST_F(LinkTcp, PortThatGoesDownInTheMiddleCostsNoByte) {
  start({.probe_pause_ns = 10 * kMillisecond});
  constexpr size_t kBytes = 20'000'000;
  auto source = make_buffer(0, kBytes);
  auto target = make_buffer(1, kBytes);
  fill(*source, 3);
  const LinkPut put{.token = 1,
                    .source = &source->registered,
                    .bytes = kBytes,
                    .target = &target->remote,
                    .tag = 7};
  ASSERT_TRUE(ranks_[0].link->put(put, now()).is_ok());
  ASSERT_TRUE(run_until([&] { return ranks_[0].link->stats()[0].bytes_sent > kBytes / 10; }));
  const RailEvent down{.kind = RailEvent::Kind::kRailDown,
                       .status = Status(Code::kRailFailed, "pulled by the test")};
  ranks_[0].link->on_port_event(0, down, now());
  ASSERT_TRUE(run_until([&] { return ranks_[0].done[1] == 1; }));
  EXPECT_TRUE(source->bytes == target->bytes);
  EXPECT_EQ(ranks_[1].notified[7], 1);
  EXPECT_GE(ranks_[0].link->stats()[0].failures, 1u);
  EXPECT_GE(ranks_[1].link->stats()[0].failures, 1u);
  // And it comes back, with new sockets.
  EXPECT_TRUE(run_until([&] {
    return ranks_[0].link->stats()[0].recoveries > 0 && ranks_[1].link->stats()[0].recoveries > 0;
  })) << ranks_[0].link->stats()[0].last_error
      << "; " << ranks_[1].link->stats()[0].last_error;
}

}  // namespace
}  // namespace railccl::testing_support
