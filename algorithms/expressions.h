// What an element can be: one rank's contribution, or a reduction of such, remembered with its
// order of combination. Equal expressions have equal numbers, so two ranks compute the same bits
// exactly when the numbers are equal. Pure; used by the verifier only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/status.h"

namespace railccl::algorithms {

class Expressions {
 public:
  static constexpr uint32_t kUndefined = 0;
  // `order`: ranks so that sets that occur are few intervals (Layout::order), `position` its
  // inverse.
  Expressions(std::span<const int> order, std::span<const int> position);

  uint32_t leaf(int rank) const {
    return 1 + static_cast<uint32_t>(position_[static_cast<size_t>(rank)]);
  }
  // Of two or more defined operands. Error when a rank contributes twice.
  Result<uint32_t> combine(std::span<const uint32_t> operands);
  uint32_t contributions(uint32_t expression) const { return entries_[expression].contributions; }
  // "ranks 0-3,7"
  std::string describe(uint32_t expression) const;

 private:
  struct Interval {
    uint32_t begin;
    uint32_t end;
  };
  struct Entry {
    uint32_t first_interval = 0;
    uint32_t num_intervals = 0;
    uint32_t first_operand = 0;
    uint32_t num_operands = 0;
    uint32_t contributions = 0;
    uint32_t next = 0;  // with the same hash
  };
  std::span<const Interval> intervals(const Entry& entry) const {
    return std::span<const Interval>(intervals_).subspan(entry.first_interval, entry.num_intervals);
  }
  uint32_t find(uint64_t hash, std::span<const uint32_t> operands) const;

  std::span<const int> order_;
  std::span<const int> position_;
  std::vector<Entry> entries_;
  std::vector<Interval> intervals_;  // of positions
  std::vector<uint32_t> operands_;
  std::unordered_map<uint64_t, uint32_t> by_hash_;
};

}  // namespace railccl::algorithms
