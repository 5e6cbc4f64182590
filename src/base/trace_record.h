// What the trace holds: fixed-size records, and the kinds of events. Pure data. Meaning of a and b,
// and which kinds open and close a span, stand in the table of trace_record.cc.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/clock.h"
#include "src/base/types.h"

namespace railccl {

// a, b in the comment after each kind; peer and rail where they apply.
enum class TraceKind : uint8_t {
  kOperationBegin,  // sequence, trace_operation(collective, bytes); transfers: kTraceTransfer
  kOperationEnd,    // sequence, 0 or the Code of the error
  kOperation,    // sequence, trace_short_operation(...): begin and end of a short one in one record
  kReady,        // sequence, -: the peer's ready message for it has arrived
  kStepBegin,    // trace_step(sequence, slot, step), bytes: copies, reductions, small messages
  kStepEnd,      // trace_step(...), bytes
  kWaitBegin,    // trace_step(...), -: waits for peer (-1: for this rank's own puts)
  kWaitEnd,      // trace_step(...), -
  kPutPosted,    // token, bytes: given to the link
  kPutDone,      // token, 0 or the Code of the error: acknowledged by the peer
  kChunkPosted,  // chunk id, bytes: given to the rail
  kChunkDelivered,  // chunk id, bytes: acknowledged by the peer
  kChunkReplayed,   // chunk id, bytes: posted again on this rail
  kArrived,         // tag, bytes: a put of the peer is whole here
  kRailState,       // new RailState, epoch
  kFenceBegin,      // epoch, -
  kFenceEnd,        // epoch, bytes that had landed
  kStall,           // nanoseconds without progress, operations queued or running
  kRegister,        // bytes, nanoseconds that it took
  kSleepBegin,      // -, -: the driver sleeps
  kSleepEnd,        // -, -
  kPeerLost,        // Code, -
  kError,           // Code, -
  kPredicted,       // sequence, nanoseconds: what the cost model expects of the operation
  kRailPicture,     // version, first operation: what all ranks agree on about their rails
  kMark,            // anything: for tests and experiments
};
constexpr int kTraceKinds = static_cast<int>(TraceKind::kMark) + 1;
std::string_view trace_kind_name(TraceKind kind);

// Who the record is about: a communicator's rank in this process (trace.h: add_trace_source); 0 is
// the process.
using TraceSource = uint16_t;

struct TraceRecord {
  TimeNs time_ns = 0;
  TraceKind kind = TraceKind::kMark;
  int8_t rail = -1;  // -1: none
  TraceSource source = 0;
  int32_t peer = -1;  // -1: none
  uint64_t a = 0;
  uint64_t b = 0;
};
static_assert(sizeof(TraceRecord) == 32);

//  63      56 55                    0
// |collective|        bytes          |
constexpr uint64_t trace_operation(Collective collective, uint64_t bytes) {
  return static_cast<uint64_t>(collective) << 56 | (bytes & ((uint64_t{1} << 56) - 1));
}
constexpr Collective trace_operation_collective(uint64_t packed) {
  return static_cast<Collective>(packed >> 56);
}
constexpr uint64_t trace_operation_bytes(uint64_t packed) {
  return packed & ((uint64_t{1} << 56) - 1);
}
//  63      56 55         24 23     0
// |collective| nanoseconds |  bytes |
constexpr uint64_t kMaxShortOperationBytes = (uint64_t{1} << 24) - 1;
constexpr uint64_t trace_short_operation(Collective collective, TimeNs took, uint64_t bytes) {
  constexpr TimeNs kLongest = (TimeNs{1} << 32) - 1;
  return static_cast<uint64_t>(collective) << 56 | (took < kLongest ? took : kLongest) << 24 |
         (bytes & kMaxShortOperationBytes);
}
constexpr TimeNs trace_short_operation_ns(uint64_t packed) { return packed >> 24 & 0xffffffff; }
constexpr uint64_t trace_short_operation_bytes(uint64_t packed) {
  return packed & kMaxShortOperationBytes;
}
// Added to the number of a point-to-point transfer, which has a row of numbers of its own.
constexpr uint64_t kTraceTransfer = uint64_t{1} << 40;
// Pieces of an operation that are under way at the same time have different slots.
//  63          32 31       24 23      0
// |   sequence   |   slot    |  step  |
constexpr uint64_t trace_step(uint64_t sequence, uint32_t slot, uint32_t step) {
  return sequence << 32 | uint64_t{slot & 0xff} << 24 | (step & 0xffffff);
}

// How a kind is shown.
struct TraceKindInfo {
  enum class Phase : uint8_t { kInstant, kBegin, kEnd };  // spans are paired by (source, span, a)
  std::string_view name;                                  // of the event
  std::string_view span;                                  // shared by a begin and its end
  Phase phase = Phase::kInstant;
  std::string_view a_name;  // empty: means nothing
  std::string_view b_name;
};
const TraceKindInfo& trace_kind_info(TraceKind kind);

}  // namespace railccl
