// The trace as Chrome trace JSON, which Perfetto and chrome://tracing open, and which railccl_trace
// merges over ranks. Slow path, any thread; writers go on meanwhile.
//
// Each (communicator, rank) is a process of the timeline, each thread of ours a thread of it. Spans
// are async events ("b"/"e"), because operations and chunks overlap. Times are microseconds of
// CLOCK_MONOTONIC plus clock_offset_ns. otherData holds host, pid, both clocks at the dump, the
// offset, and how many records were overwritten.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/base/trace.h"

namespace railccl {

struct TraceDumpOptions {
  int64_t clock_offset_ns = 0;  // added to every time, to align the clocks of ranks
};

// Pure: from given records.
std::string chrome_trace_json(const std::vector<TraceThread>& threads,
                              const std::vector<TraceSourceInfo>& sources,
                              const TraceDumpOptions& options);

// Writes the process's trace to `path` (a complete file or none: written aside, then renamed).
Status dump_trace(const std::string& path, const TraceDumpOptions& options);

}  // namespace railccl
