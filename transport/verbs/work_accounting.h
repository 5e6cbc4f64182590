// What a queue pair has posted and what its peer can take, as pure bookkeeping.
//
// SendWindow: every posted work request, in order. Only the last of a put is signalled; its
// completion completes all before it. After a failure every work request completes by itself.
// Credits: receive slots of the peer that are free for our messages. Both count modulo 2^32.
#pragma once

#include <cstdint>
#include <vector>

namespace railccl::verbs {

enum class WorkKind : uint8_t {
  kData,       // the bytes of a put whose notification follows
  kPut,        // the end of a put: its notification, or its bytes when it has none
  kControl,    // hello, credits, farewell
  kForgotten,  // of a put that has completed or was not accepted
};

struct Work {
  WorkKind kind = WorkKind::kControl;
  bool farewell = false;
  uint64_t token = 0;  // of the put
};

class SendWindow {
 public:
  explicit SendWindow(uint32_t capacity) : ring_(capacity) {}

  uint32_t free() const { return capacity() - in_flight(); }
  uint32_t in_flight() const { return end_ - first_; }
  uint32_t capacity() const { return static_cast<uint32_t>(ring_.size()); }
  // The sequence number of the next push.
  uint32_t next() const { return end_; }
  void push(const Work& work) { ring_[end_++ % ring_.size()] = work; }
  // Whether work request `sequence` is in flight.
  bool contains(uint32_t sequence) const { return sequence - first_ < in_flight(); }
  Work& front() { return ring_[first_ % ring_.size()]; }
  Work& back() { return ring_[(end_ - 1) % ring_.size()]; }
  uint32_t first() const { return first_; }
  void pop() { ++first_; }

 private:
  std::vector<Work> ring_;  // its size is a power of two, so that counting wraps well
  uint32_t first_ = 0;
  uint32_t end_ = 0;
};

// Slots that puts leave free, so that credits, hello and farewell can always be sent: between two
// messages that return credits the peer has at most one full turn of its own slots to use, which
// makes three of ours that it may not have counted back.
constexpr uint32_t kReservedCredits = 4;

class Credits {
 public:
  void start(uint32_t slots) {
    slots_ = slots;
    used_ = returned_ = 0;
  }
  uint32_t available() const { return slots_ - (used_ - returned_); }
  bool for_put() const { return available() > kReservedCredits; }
  void use() { ++used_; }
  uint32_t used() const { return used_; }
  uint32_t returned() const { return returned_; }
  // What the peer says it has given back since the start. False: more than it ever got.
  bool on_returned(uint32_t returned) {
    if (returned - returned_ > used_ - returned_) return false;
    returned_ = returned;
    return true;
  }

 private:
  uint32_t slots_ = 0;
  uint32_t used_ = 0;
  uint32_t returned_ = 0;
};

}  // namespace railccl::verbs
