#include "algorithms/expressions.h"

#include <algorithm>
#include <utility>

namespace railccl::algorithms {
namespace {

uint64_t hash_of(std::span<const uint32_t> operands) {
  uint64_t hash = 1469598103934665603u;
  for (const uint32_t operand : operands) hash = (hash ^ operand) * 1099511628211u;
  return hash;
}

}  // namespace

Expressions::Expressions(std::span<const int> order, std::span<const int> position)
    : order_(order), position_(position) {
  entries_.push_back({});
  for (uint32_t i = 0; i < order.size(); ++i) {
    entries_.push_back({.first_interval = i, .num_intervals = 1, .contributions = 1});
    intervals_.push_back({i, i + 1});
  }
}

uint32_t Expressions::find(uint64_t hash, std::span<const uint32_t> operands) const {
  const auto bucket = by_hash_.find(hash);
  uint32_t candidate = bucket == by_hash_.end() ? kUndefined : bucket->second;
  while (candidate != kUndefined) {
    const Entry& entry = entries_[candidate];
    const auto theirs =
        std::span<const uint32_t>(operands_).subspan(entry.first_operand, entry.num_operands);
    if (std::equal(theirs.begin(), theirs.end(), operands.begin(), operands.end())) break;
    candidate = entry.next;
  }
  return candidate;
}

Result<uint32_t> Expressions::combine(std::span<const uint32_t> operands) {
  const uint64_t hash = hash_of(operands);
  if (const uint32_t known = find(hash, operands); known != kUndefined) return known;
  std::vector<Interval> all;
  Entry entry;
  for (const uint32_t operand : operands) {
    const auto theirs = intervals(entries_[operand]);
    all.insert(all.end(), theirs.begin(), theirs.end());
    entry.contributions += entries_[operand].contributions;
  }
  std::sort(all.begin(), all.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  entry.first_interval = static_cast<uint32_t>(intervals_.size());
  intervals_.push_back(all[0]);
  for (size_t i = 1; i < all.size(); ++i) {
    Interval& last = intervals_.back();
    if (all[i].begin < last.end) {
      intervals_.resize(entry.first_interval);
      return error(Code::kInvalidArgument, "the contribution of rank {} is added twice",
                   order_[all[i].begin]);
    }
    if (all[i].begin == last.end) {
      last.end = all[i].end;
    } else {
      intervals_.push_back(all[i]);
    }
  }
  entry.num_intervals = static_cast<uint32_t>(intervals_.size()) - entry.first_interval;
  entry.first_operand = static_cast<uint32_t>(operands_.size());
  entry.num_operands = static_cast<uint32_t>(operands.size());
  operands_.insert(operands_.end(), operands.begin(), operands.end());
  const auto number = static_cast<uint32_t>(entries_.size());
  const auto [bucket, is_new] = by_hash_.try_emplace(hash, number);
  if (!is_new) entry.next = std::exchange(bucket->second, number);
  entries_.push_back(entry);
  return number;
}

std::string Expressions::describe(uint32_t expression) const {
  if (expression == kUndefined) return "nothing";
  constexpr size_t kShown = 12;
  std::vector<int> ranks;
  for (const Interval& interval : intervals(entries_[expression])) {
    for (uint32_t i = interval.begin; i < interval.end; ++i) ranks.push_back(order_[i]);
  }
  std::sort(ranks.begin(), ranks.end());
  std::string text;
  for (size_t i = 0; i < std::min(kShown, ranks.size()); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ",", ranks[i]);
  }
  if (ranks.size() > kShown) text += fmt::format(",... ({} ranks)", ranks.size());
  return (ranks.size() == 1 ? "the contribution of rank " : "the contributions of ranks ") + text;
}

}  // namespace railccl::algorithms
