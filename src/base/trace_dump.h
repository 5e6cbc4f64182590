// The trace as Chrome trace JSON, which Perfetto and chrome://tracing open, and which railccl_trace
// merges over ranks. Slow path, any thread; writers go on meanwhile.
//
// Each (communicator, rank) is a process of the timeline, each thread of ours a thread of it. Spans
// are async events ("b"/"e"), because operations and chunks overlap. Times are microseconds of
// CLOCK_MONOTONIC plus clock_offset_ns. otherData holds host, process id, both clocks at the dump,
// the offset, and how many records were overwritten.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/base/trace.h"

namespace railccl {

// A moment of a process's trace, with what is needed to align it with others.
struct TraceCapture {
  std::vector<TraceThread> threads;
  std::vector<TraceSourceInfo> sources;  // by TraceSource
  std::string host;
  int process_id = 0;
  TimeNs monotonic_ns = 0;  // both clocks at the same moment
  TimeNs realtime_ns = 0;
  int64_t clock_offset_ns = 0;  // to be added to every time, to align the clocks of ranks
};

// Of this process, now.
TraceCapture capture_trace(int64_t clock_offset_ns);

// Pure.
std::string chrome_trace_json(const TraceCapture& capture);

// capture_trace, as JSON, in the file `path`; see write_file.h.
Status dump_trace(const std::string& path, int64_t clock_offset_ns);

}  // namespace railccl
