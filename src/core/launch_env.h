// Who this process is, as its launcher says in the environment: torchrun, Open MPI, PMI (MPICH,
// Intel MPI, hydra), Slurm. Pure: the environment comes as a function. Any thread.
//
// The first launcher of that order whose variables are complete counts. The ranks' meeting place is
// RAILCCL_COMM_ID if set; else MASTER_ADDR with the kRootPortCount ports after MASTER_PORT
// (MASTER_PORT itself is torchrun's own store); else what the launcher tells of its nodes, with
// ports made from the job's name.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/status.h"

namespace railccl {

// The value of a variable; nothing: not set.
using EnvLookup = std::function<std::optional<std::string>(std::string_view name)>;

struct LaunchOptions {
  std::string comm_id;     // RAILCCL_COMM_ID
  std::string job_secret;  // RAILCCL_JOB_SECRET
  // Of several communicators that one process starts so, in the same order on all ranks: 0, 1, ...
  int instance = 0;
};

struct LaunchEnv {
  std::string launcher;  // "torchrun", "Open MPI", "PMI", "Slurm"
  int rank = 0;
  int ranks = 1;
  int local_rank = 0;   // -1: the launcher does not say
  int local_ranks = 0;  // 0: the launcher does not say
  // For derive_unique_id: rank 0 listens there.
  std::string root_host;
  uint16_t root_port = 0;  // the first one
  int root_ports = 1;
  std::string secret;
};
constexpr int kRootPortCount = 8;

// Errors name the variables that are missing or contradict each other, and the ways to start.
Result<LaunchEnv> read_launch_env(const EnvLookup& environment, const LaunchOptions& options);

// The first host of a Slurm node list: "gpu[003-010,12],login" gives "gpu003". Empty: malformed.
std::string first_slurm_host(std::string_view node_list);

}  // namespace railccl
