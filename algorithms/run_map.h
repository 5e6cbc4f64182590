// A memory of elements as runs of equal state, split where accesses begin and end. Pure.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>

namespace railccl::algorithms {

template <typename T>
class RunMap {
 public:
  explicit RunMap(uint64_t size) : size_(size) {
    if (size > 0) runs_.emplace(0, T{});
  }

  // Calls visit(begin, end, state) for the runs of [begin, end), which become runs of their own.
  template <typename Visit>
  void visit(uint64_t begin, uint64_t end, Visit visit) {
    const auto last = cut(end);
    for (auto run = cut(begin); run != last;) {
      const auto next = std::next(run);
      visit(run->first, next == runs_.end() ? size_ : next->first, run->second);
      run = next;
    }
  }

  // [begin, end) becomes one run.
  T& replace(uint64_t begin, uint64_t end, T state) {
    const auto last = cut(end);
    const auto first = cut(begin);
    first->second = std::move(state);
    runs_.erase(std::next(first), last);
    return first->second;
  }

 private:
  using Runs = std::map<uint64_t, T>;

  // The run that begins at `at`, made so; the end for the end of the memory.
  typename Runs::iterator cut(uint64_t at) {
    if (at >= size_) return runs_.end();
    const auto after = runs_.upper_bound(at);
    const auto run = std::prev(after);
    if (run->first == at) return run;
    return runs_.emplace_hint(after, at, run->second);
  }

  uint64_t size_;
  Runs runs_;
};

}  // namespace railccl::algorithms
