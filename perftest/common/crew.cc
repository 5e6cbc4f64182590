#include "perftest/common/crew.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace railccl::perftest {

Crew::Crew(const Processes& processes, int threads) : processes_(processes), threads_(threads) {}

bool Crew::meet() {
  std::unique_lock lock(mutex_);
  if (given_up_) return false;
  if (++waiting_ == threads_) {
    waiting_ = 0;
    ++meeting_;
    changed_.notify_all();
    return true;
  }
  const uint64_t meeting = meeting_;
  changed_.wait(lock, [&] { return meeting_ != meeting || given_up_; });
  return meeting_ != meeting;
}

void Crew::give_up() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  changed_.notify_all();
}

bool Crew::given_up() const {
  const std::lock_guard lock(mutex_);
  return given_up_;
}

Outcome<std::span<const std::byte>> Crew::all_gather(int thread, std::span<const std::byte> mine) {
  const auto another_rank_failed = [] {
    return failure(Exit::kLibrary, "another rank of this process failed");
  };
  const size_t process_bytes = mine.size() * static_cast<size_t>(threads_);
  if (thread == 0) mine_.resize(process_bytes);
  if (!meet()) return another_rank_failed();
  if (!mine.empty()) {
    std::memcpy(mine_.data() + static_cast<size_t>(thread) * mine.size(), mine.data(), mine.size());
  }
  if (!meet()) return another_rank_failed();
  if (thread == 0) {
    all_.resize(process_bytes * static_cast<size_t>(processes_.count));
    if (processes_.control == nullptr) {
      all_ = mine_;
    } else if (const auto gathered = check("ncclAllGather between processes",
                                           ncclAllGather(mine_.data(), all_.data(), process_bytes,
                                                         ncclUint8, processes_.control, nullptr),
                                           processes_.control);
               !gathered) {
      gather_failed_ = true;
      gather_failure_ = gathered.error();
    }
  }
  if (!meet()) return another_rank_failed();
  if (gather_failed_) return tl::unexpected(gather_failure_);
  return std::span<const std::byte>(all_);
}

Outcome<void> Crew::barrier(int thread) {
  const std::byte nothing{};
  const auto gathered = all_gather(thread, {&nothing, 1});
  if (!gathered) return tl::unexpected(gathered.error());
  return {};
}

Outcome<std::vector<double>> Crew::all_values(int thread, std::span<const double> mine) {
  const auto gathered = all_gather(thread, std::as_bytes(mine));
  if (!gathered) return tl::unexpected(gathered.error());
  std::vector<double> values(gathered->size() / sizeof(double));
  if (!values.empty()) std::memcpy(values.data(), gathered->data(), gathered->size());
  return values;
}

Outcome<double> Crew::combine(int thread, double value, Average how) {
  const auto gathered = all_values(thread, {&value, 1});
  if (!gathered) return tl::unexpected(gathered.error());
  const std::vector<double>& values = *gathered;
  switch (how) {
    case Average::kRank0:
      return values.front();
    case Average::kMean:
      return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(ranks());
    case Average::kMin:
      return *std::ranges::min_element(values);
    case Average::kMax:
      return *std::ranges::max_element(values);
  }
  return value;
}

Outcome<uint64_t> Crew::sum(int thread, uint64_t value) {
  const auto gathered = all_gather(thread, std::as_bytes(std::span(&value, 1)));
  if (!gathered) return tl::unexpected(gathered.error());
  uint64_t total = 0;
  for (size_t at = 0; at < gathered->size(); at += sizeof value) {
    uint64_t one = 0;
    std::memcpy(&one, gathered->data() + at, sizeof one);
    total += one;
  }
  return total;
}

}  // namespace railccl::perftest
