// This process as one of MPI's, where mpirun started it and no address says where the others are:
// MPI then carries the first bytes. The main thread only; one in a process.
#pragma once

#include <cstddef>
#include <span>

#include "perftest/common/outcome.h"

namespace railccl::perftest {

// mpirun's variables alone say no address.
bool mpi_started_this();
// Set and not empty in the environment.
bool environment_has(const char* name);

// MPI is initialized for as long as it lives.
class MpiProcess {
 public:
  // Also the error of a build without MPI.
  static Outcome<MpiProcess> start();
  MpiProcess(MpiProcess&& other) noexcept : rank_(other.rank_), ranks_(other.ranks_) {
    other.ranks_ = 0;
  }
  MpiProcess& operator=(MpiProcess&&) = delete;
  ~MpiProcess();

  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  // Rank 0's bytes to all.
  Outcome<void> broadcast(std::span<std::byte> bytes) const;

 private:
  MpiProcess() = default;
  int rank_ = 0;
  int ranks_ = 0;  // 0: moved from
};

}  // namespace railccl::perftest
