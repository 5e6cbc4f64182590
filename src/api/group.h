// ncclGroupStart and ncclGroupEnd: what a thread calls in between is collected and begun together,
// so that one thread may serve several ranks, and sends and receives cannot block each other. Per
// thread.
//
// The operations of a group begin in this order on each communicator: its collectives as called,
// then all its sends and receives as one; so ranks need not mix them in the same order.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "include/railccl/nccl.h"
#include "src/api/comm_handle.h"
#include "src/api/stream.h"
#include "src/core/operation.h"

namespace railccl {

bool in_group();

// Where a call is to be put: a stream of host calls (null: the caller waits), or one of a GPU.
struct CallStream {
  HostStream* host = nullptr;
  std::shared_ptr<DeviceCalls> after;   // host: the communicator's calls on a GPU; null: none yet
  std::shared_ptr<DeviceCalls> device;  // null: a host call
  DeviceStream of_device = nullptr;
};

// Runs the collective now (host, no group, no stream: on the caller's thread), or queues it.
Status enqueue(const std::shared_ptr<Communicator>& communicator, const Call& call,
               const CallStream& stream);
Status enqueue(const std::shared_ptr<Communicator>& communicator, const P2pTransfer& transfer,
               const CallStream& stream);
// A call inside a group failed: the end of the group will say so, and runs nothing.
void fail_group(const Status& status);
// What a call returns that failed or not: reports the failure, and fails the group it is in.
ncclResult_t answer(const Status& status);
// As ncclGroupEnd.
Status end_group();
// Runs the start of a communicator now, or, in a group, together with the others at its end.
Status enqueue_start(std::function<Status()> start);

}  // namespace railccl
