// Cheap time for the trace ring and for waiting loops: the processor's time stamp counter where it
// is invariant, anchored to CLOCK_MONOTONIC again by every thread every few milliseconds; elsewhere
// CLOCK_MONOTONIC itself. Any thread. Values are on the scale of system_clock(); they agree with it
// to about a microsecond and never go backwards within a thread.
#pragma once

#include "src/base/clock.h"

namespace railccl {

TimeNs fast_now_ns();

// What fast_now_ns stands on, for railccl_info: "tsc" or "clock_gettime".
const char* fast_clock_source();

// fast_now_ns as a Clock; never destroyed.
const Clock& fast_clock();

}  // namespace railccl
