// What the two nodes say to each other over the control path. The first one gives orders, the
// second one answers each with one report. Little-endian; what does not parse is refused. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "perftest/rail_perf/content.h"
#include "perftest/rail_perf/result.h"
#include "src/base/status.h"
#include "transport/link.h"

namespace railccl::perftest::railperf {

enum class Kind : uint8_t {
  kHello = 1,  // NodeSide: both ways, at the start
  kOrder,      // Order
  kReport,     // Answer
  kOffer,      // link 4 | bytes of the description 4 | RemoteBuffer | address of the link
  kForLink,    // link 4 | what the link at the other node is to get
};

enum class Task : uint8_t {
  kPrepare = 1,  // make buffers and links: `bytes` of area, `links`
  kState,        // is `link` connected? Answered when it is, or will not be
  kExpect,       // clear `window` slots of `bytes`, to be filled by puts with the content of `seed`
  kCompare,      // are they?
  kFill,         // put `window` slots with the content of `seed`
  kReceive,      // count what comes, until the next order
  kReturn,       // answer each put by one of the same size
  kStream,       // put for `time_ns`, or `iterations`
  kEnd,          // close the links
};
constexpr uint8_t kTasks = 9;

struct Order {
  Task task = Task::kEnd;
  uint32_t link = 0;
  uint64_t bytes = 0;
  uint64_t window = 0;
  uint64_t iterations = 0;
  uint64_t time_ns = 0;
  uint64_t seed = 0;
  std::vector<uint32_t> links;  // kPrepare: the pairs of each, as bits

  SlotContent content() const { return {.seed = seed, .bytes = bytes, .slots = window}; }
};

struct Answer {
  Task task = Task::kEnd;
  std::string error;  // empty: done
  uint64_t puts = 0;  // kStream
  uint64_t elapsed_ns = 0;
  double peak_puts_per_second = 0;
  uint64_t wrong = 0;  // kCompare: bytes
  std::string first_mistake;
};

std::vector<std::byte> encode(const NodeSide& side);
std::vector<std::byte> encode(const Order& order);
std::vector<std::byte> encode(const Answer& answer);
Result<NodeSide> decode_hello(std::span<const std::byte> bytes);
Result<Order> decode_order(std::span<const std::byte> bytes);
Result<Answer> decode_answer(std::span<const std::byte> bytes);

struct LinkOffer {
  RemoteBuffer target;
  std::vector<std::byte> address;
};
std::vector<std::byte> encode(uint32_t link, const LinkOffer& offer);
Result<LinkOffer> decode_offer(std::span<const std::byte> bytes);  // after the number of the link
std::vector<std::byte> encode(uint32_t link, std::span<const std::byte> frame);

}  // namespace railccl::perftest::railperf
