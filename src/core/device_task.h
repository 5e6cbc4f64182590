// One call on memory of a GPU while it runs: what is copied where, and which calls on host memory
// it is made of. Steps never block. Threading: the driver lock.
#pragma once

#include <memory>

#include "src/base/status.h"
#include "src/compute/device.h"
#include "src/core/communicator.h"
#include "src/core/operation.h"
#include "src/core/staging_plan.h"

namespace railccl {

// Memory of a communicator through which calls go, used by one task at a time; outlives it. Pinned
// memory of the host, or this rank's piece of the device domain: then both addresses are the GPU's.
struct StagingMemory {
  PinnedSlot begin;
  uint64_t slot_bytes = 0;  // 0: there is none
  bool on_device = false;
  static constexpr uint64_t kSlots = 4;  // one each is filled, reduced, emptied; and one to spare
  static constexpr uint64_t kScalarBytes = 64;  // after the slots of pinned memory

  PinnedSlot at(uint64_t offset) const { return {begin.host + offset, begin.device + offset}; }
  uint64_t bytes() const { return kSlots * slot_bytes; }
};

class DeviceTask {
 public:
  virtual ~DeviceTask() = default;
  // True when anything moved; an error ends the communicator.
  virtual Result<bool> step() = 0;
  // The queue gets nothing more from it: the stream may go on when what it has is done.
  virtual bool all_submitted() const = 0;
  // Nothing of it is under way any more.
  virtual bool finished() const = 0;
};

// What a task works with; outlives it.
struct DeviceTaskServices {
  Communicator& communicator;
  DeviceQueue& queue;
  const StagingMemory& pinned;
  const StagingMemory& on_device;  // none: all go through the host's
};

std::unique_ptr<DeviceTask> make_collective_task(const DeviceTaskServices& services,
                                                 const Call& call);
std::unique_ptr<DeviceTask> make_transfers_task(const DeviceTaskServices& services,
                                                const std::vector<P2pTransfer>& transfers);

}  // namespace railccl
