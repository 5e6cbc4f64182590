// What one node does with a link for the length of one measurement. Called by the driver of the
// engine; a node has at most one activity at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/status.h"
#include "transport/link.h"

namespace railccl::perftest::railperf {

class Activity {
 public:
  virtual ~Activity() = default;
  // After each round of the rails and the link; true when it did anything.
  virtual Result<bool> step(Link& link, TimeNs now) = 0;
  // Nothing more will be done, and nothing is outstanding. What only answers the other node never
  // is.
  virtual bool done() const = 0;
  virtual void on_put_done() {}
  virtual void on_notification(uint64_t /*tag*/) {}
  virtual void on_message(std::span<const std::byte> /*message*/) {}
};

// The memory of both nodes between which puts go: slot k of the one to slot k of the other.
struct Slots {
  const RegisteredBuffer* source = nullptr;
  const RemoteBuffer* target = nullptr;
  uint64_t bytes = 0;   // of a put, and the distance of slots
  uint64_t window = 1;  // slots

  LinkPut put(uint64_t number) const {
    const uint64_t offset = number % window * bytes;
    return {.token = number,
            .source = source,
            .source_offset = offset,
            .bytes = bytes,
            .target = target,
            .target_offset = offset,
            .tag = number};
  }
};

// How long to go on: until so many times or so much time, whichever is first; 0: not limited.
struct Length {
  uint64_t iterations = 0;
  TimeNs time_ns = 0;

  bool is_over(uint64_t done, TimeNs elapsed) const {
    return (iterations > 0 && done >= iterations) || (time_ns > 0 && elapsed >= time_ns);
  }
};

}  // namespace railccl::perftest::railperf
