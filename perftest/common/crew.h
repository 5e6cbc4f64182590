// All ranks of a run as they meet between measurements: the threads of this process by themselves,
// the processes through a communicator of their own, so that the measured one carries nothing else.
// Shared by the rank threads of a process; every call is made by all ranks in the same order.
// Waiting for other processes is bounded by the library's timeouts; give_up() ends all waiting.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "perftest/common/library.h"
#include "perftest/common/options.h"
#include "perftest/common/outcome.h"

namespace railccl::perftest {

struct Processes {
  int index = 0;
  int count = 1;
  ncclComm_t control = nullptr;  // null with one process
};

class Crew {
 public:
  Crew(const Processes& processes, int threads);

  int ranks() const { return processes_.count * threads_; }
  int rank_of(int thread) const { return processes_.index * threads_ + thread; }
  int processes() const { return processes_.count; }

  // Every rank's bytes, by rank; all give the same number. The result is valid until this thread's
  // next call.
  Outcome<std::span<const std::byte>> all_gather(int thread, std::span<const std::byte> mine);
  Outcome<void> barrier(int thread);
  // Rank 0's value, or the mean, least or largest of all.
  Outcome<double> combine(int thread, double value, Average how);
  Outcome<uint64_t> sum(int thread, uint64_t value);
  // Every rank's values, by rank; all give the same number.
  Outcome<std::vector<double>> all_values(int thread, std::span<const double> mine);

  // A rank of this process cannot go on: nobody waits here any more. Any thread.
  void give_up();
  bool given_up() const;

 private:
  // Returns when all threads of this process are here; false after give_up().
  bool meet();

  const Processes processes_;
  const int threads_;
  std::vector<std::byte> mine_;  // of this process, by thread
  std::vector<std::byte> all_;   // by rank
  Failure gather_failure_;       // of thread 0's last exchange between processes
  bool gather_failed_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  uint64_t meeting_ = 0;
  bool given_up_ = false;
};

}  // namespace railccl::perftest
