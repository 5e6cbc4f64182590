// Items numbered by a sequence that only grows: added at end(), removed at first(). Storage is
// reused, so that nothing is allocated once it has been as large as it needs to be; an item keeps
// the capacity of its own vectors from one use to the next. One owner; any thread.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace railccl {

// The 64-bit sequence next to `near` whose low half is `low`: sequences travel as 32 bits.
constexpr uint64_t widen(uint32_t low, uint64_t near) {
  const auto distance = static_cast<int32_t>(low - static_cast<uint32_t>(near));
  return near + static_cast<uint64_t>(static_cast<int64_t>(distance));
}

template <typename T>
class SequenceRing {
 public:
  uint64_t first() const { return first_; }
  uint64_t end() const { return end_; }
  bool empty() const { return first_ == end_; }
  size_t size() const { return static_cast<size_t>(end_ - first_); }
  bool contains(uint64_t sequence) const { return sequence >= first_ && sequence < end_; }

  T& operator[](uint64_t sequence) {
    assert(contains(sequence));
    return slots_[sequence & (slots_.size() - 1)];
  }
  const T& operator[](uint64_t sequence) const {
    assert(contains(sequence));
    return slots_[sequence & (slots_.size() - 1)];
  }
  T& front() { return (*this)[first_]; }

  // The new item at end(), as whoever used its slot before left it: the caller sets all of it.
  // References to other items end here.
  T& push_back() {
    if (size() == slots_.size()) grow();
    return (*this)[end_++];
  }
  void pop_front() {
    assert(!empty());
    ++first_;
  }

 private:
  void grow() {
    std::vector<T> larger(slots_.empty() ? 16 : slots_.size() * 2);
    for (uint64_t i = first_; i != end_; ++i) {
      larger[i & (larger.size() - 1)] = std::move((*this)[i]);
    }
    slots_ = std::move(larger);
  }

  std::vector<T> slots_;  // a power of two; sequence modulo size
  uint64_t first_ = 0;
  uint64_t end_ = 0;
};

}  // namespace railccl
