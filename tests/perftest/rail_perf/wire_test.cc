#include "perftest/rail_perf/wire.h"

#include <gmock/gmock.h>

namespace railccl::perftest::railperf {
namespace {

using testing::ElementsAre;

// Without the byte of the kind.
std::span<const std::byte> body(const std::vector<std::byte>& message) {
  return std::span(message).subspan(1);
}

// Every shorter message, and a longer one, must be refused.
template <typename Decode>
void expect_only_whole(const std::vector<std::byte>& message, const Decode& decode) {
  EXPECT_TRUE(decode(body(message)));
  for (size_t bytes = 0; bytes + 1 < message.size(); ++bytes) {
    EXPECT_FALSE(decode(body(message).first(bytes))) << bytes;
  }
  auto longer = message;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode(body(longer)));
}

TEST(RailPerfWire, Orders) {
  const Order order{.task = Task::kStream,
                    .link = 3,
                    .bytes = 4096,
                    .window = 16,
                    .iterations = 7,
                    .time_ns = 9,
                    .seed = 11,
                    .links = {1, 2, 3}};
  const auto message = encode(order);
  EXPECT_EQ(message[0], static_cast<std::byte>(Kind::kOrder));
  const auto decoded = decode_order(body(message));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->task, Task::kStream);
  EXPECT_EQ(decoded->link, 3u);
  EXPECT_EQ(decoded->bytes, 4096u);
  EXPECT_EQ(decoded->window, 16u);
  EXPECT_EQ(decoded->iterations, 7u);
  EXPECT_EQ(decoded->time_ns, 9u);
  EXPECT_EQ(decoded->seed, 11u);
  EXPECT_THAT(decoded->links, ElementsAre(1, 2, 3));
  expect_only_whole(message, decode_order);
}

TEST(RailPerfWire, UnknownTasksAreRefused) {
  auto message = encode(Order{.task = Task::kEnd, .links = {}});
  message[1] = std::byte{kTasks + 1};
  EXPECT_FALSE(decode_order(body(message)));
  message[1] = std::byte{0};
  EXPECT_FALSE(decode_order(body(message)));
}

TEST(RailPerfWire, Answers) {
  const Answer answer{.task = Task::kCompare,
                      .error = "no",
                      .puts = 4,
                      .elapsed_ns = 5,
                      .peak_puts_per_second = 1.5,
                      .wrong = 6,
                      .first_mistake = "there"};
  const auto message = encode(answer);
  const auto decoded = decode_answer(body(message));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->error, "no");
  EXPECT_EQ(decoded->puts, 4u);
  EXPECT_EQ(decoded->elapsed_ns, 5u);
  EXPECT_EQ(decoded->peak_puts_per_second, 1.5);
  EXPECT_EQ(decoded->wrong, 6u);
  EXPECT_EQ(decoded->first_mistake, "there");
  expect_only_whole(message, decode_answer);
}

TEST(RailPerfWire, Hello) {
  const NodeSide side{.host = "a",
                      .rails = {{.name = "eth0",
                                 .transport = "tcp",
                                 .address = "10.0.0.1",
                                 .bytes_per_second = 125'000'000},
                                {.name = "eth1", .transport = "tcp", .address = "10.0.1.1"}}};
  const auto message = encode(side);
  const auto decoded = decode_hello(body(message));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->host, "a");
  ASSERT_EQ(decoded->rails.size(), 2u);
  EXPECT_EQ(decoded->rails[0].name, "eth0");
  EXPECT_EQ(decoded->rails[0].bytes_per_second, 125'000'000u);
  EXPECT_EQ(decoded->rails[1].address, "10.0.1.1");
  expect_only_whole(message, decode_hello);
}

}  // namespace
}  // namespace railccl::perftest::railperf
