// Communicators made by the C API: from ids, from the environment, or from a parent. Any thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "include/railccl/nccl.h"
#include "src/api/config.h"
#include "src/base/status.h"
#include "src/core/bootstrap.h"
#include "src/core/comm_options.h"

namespace railccl {

struct CommRequest {
  std::string function;  // for messages
  // Gives the ids; called on the thread that starts the communicator.
  std::function<Result<std::vector<UniqueIdBytes>>()> ids;
  int rank = 0;
  int ranks = 1;
  int device = 0;
  std::shared_ptr<Device> gpu;  // null: the calling thread's, if it has chosen one
  CommConfig config;
  CommOptions options;
};

// Sets *comm at once. Blocking: returns when the communicator is there (in a group: at its end).
// Else the start goes on in the background.
Status create_comm(ncclComm_t* comm, CommRequest request);
BootstrapOptions bootstrap_options();
// The GPU of the calling thread; null where it has chosen none, or none is to be used.
std::shared_ptr<Device> chosen_gpu(const CommOptions& options);

}  // namespace railccl
