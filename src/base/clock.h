// Time as an input. Everything above the rail interface is told the time; only the owner of a
// progress engine (or a simulation) reads a clock. Any thread may read a clock.
#pragma once

#include <cstdint>

namespace railccl {

// Nanoseconds since an arbitrary start; monotonic. 2^64 ns are 584 years.
using TimeNs = uint64_t;

constexpr TimeNs kMicrosecond = 1'000;
constexpr TimeNs kMillisecond = 1'000'000;
constexpr TimeNs kSecond = 1'000'000'000;
constexpr TimeNs kNever = ~TimeNs{0};

constexpr double in_seconds(TimeNs time) {
  return static_cast<double>(time) / static_cast<double>(kSecond);
}

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimeNs now_ns() const = 0;
};

// CLOCK_MONOTONIC of this machine; never destroyed.
const Clock& system_clock();

}  // namespace railccl
