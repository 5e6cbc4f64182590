// How this process finds the others: the environment of torchrun, Slurm, a launcher of RailCCL's,
// or MPI where the programs were built with it and its variables are set. The main thread only.
#pragma once

#include <optional>

#include "perftest/common/crew.h"
#include "perftest/common/library.h"
#include "perftest/common/mpi_process.h"

namespace railccl::perftest {

class Job {
 public:
  // Joins the other processes, if there are any.
  static Outcome<Job> join();
  Job(Job&&) = default;
  Job& operator=(Job&&) = delete;

  Processes processes() const;
  // Makes the id of a new communicator known to all processes.
  Outcome<ncclUniqueId> share_unique_id() const;
  // This process goes down with an error: the others need not wait for it.
  void abandon() { control_.abandon(); }

 private:
  Job() = default;

  std::optional<MpiProcess> mpi_;  // before control_: ends after it
  Communicator control_;           // of one process: none
  int index_ = 0;
  int count_ = 1;
};

}  // namespace railccl::perftest
