// From a unique id to a communicator: bootstrap, who shares a node, shared memory, agreement on
// what all must agree on. Collective; blocks its caller, with the deadlines of the options. Any
// thread.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>

#include "src/base/status.h"
#include "src/core/bootstrap.h"
#include "src/core/communicator.h"

namespace railccl {

struct CommStart {
  std::vector<UniqueIdBytes> ids;
  int rank = 0;
  int ranks = 1;
  CommOptions options;
  std::shared_ptr<Engine> engine;
  std::string name;
  CommOutputs outputs;
  std::shared_ptr<Device> device;  // null: this rank is not known to work on one
};

// `abort`: set by another thread to give up.
Result<std::shared_ptr<Communicator>> start_communicator(const CommStart& start,
                                                         const std::atomic<bool>& abort);

}  // namespace railccl
