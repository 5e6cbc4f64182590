// The trace of this process: a ring of records per thread (trace_ring.h), always on unless
// RAILCCL_TRACE=off. Any thread; a record costs some tens of nanoseconds, or one predictable branch
// when off. Code that is given the time (everything above the rail interface) uses trace_at.
//
//   const TraceSource source = add_trace_source(comm_hash, rank);
//   trace_at(now, {.kind = TraceKind::kChunkPosted, .rail = 1, .source = source, .peer = 3,
//                  .a = chunk, .b = bytes});
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/fast_clock.h"
#include "src/base/status.h"
#include "src/base/trace_record.h"
#include "src/base/trace_ring.h"

namespace railccl {

class Settings;

// TRACE and TRACE_RECORDS. The first call of the process counts. Rings of threads that have
// recorded before keep their size.
void configure_trace(const Settings& settings);
void set_trace_enabled(bool enabled);

// A name for the records of one rank of one communicator. The same pair gives the same source; when
// the 65535 names are used up it gives 0, the process.
TraceSource add_trace_source(uint64_t communicator, int rank);

struct TraceSourceInfo {
  uint64_t communicator = 0;
  int rank = -1;
};
std::vector<TraceSourceInfo> trace_sources();  // by TraceSource

struct TraceThread {
  int thread_id = 0;  // of the last thread that wrote to the ring
  std::string name;   // of that thread
  TraceRing::Snapshot snapshot;
};
// Of every thread that has recorded, also ended ones; writers go on meanwhile.
std::vector<TraceThread> trace_snapshot();

namespace trace_internal {
extern std::atomic<bool> enabled;
void record(const TraceRecord& record);
}  // namespace trace_internal

inline bool trace_enabled() { return trace_internal::enabled.load(std::memory_order_relaxed); }

// record.time_ns is set from `now`, which is on the scale of system_clock().
inline void trace_at(TimeNs now, TraceRecord record) {
  if (!trace_enabled()) return;
  record.time_ns = now;
  trace_internal::record(record);
}
// For code that is not given the time.
inline void trace(const TraceRecord& record) {
  if (trace_enabled()) trace_at(fast_now_ns(), record);
}

}  // namespace railccl
