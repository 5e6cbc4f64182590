// The queues of one GPU: pinned memory that is asked for in large pieces, because to ask for it
// takes milliseconds and may wait for the GPU, and handed out again and again. Any thread.
#pragma once

#include <memory>
#include <vector>

#include "cuda/driver.h"
#include "cuda/queue_memory.h"
#include "src/base/mutex.h"
#include "src/base/status.h"

namespace railccl::cuda {

// One queue: both sides' addresses, and what the host has told it so far.
struct QueuePlace {
  QueueMemory* memory = nullptr;
  DevicePointer memory_on_device = 0;
  DevicePointer scratch = 0;
  uint64_t posted = 0;      // commands
  uint64_t runs = 0;        // announced
  uint64_t ended_runs = 0;  // of them, told to end

  bool ended() const;  // all runs that were announced
};

class QueuePool {
 public:
  // `context`: of the GPU; outlives the pool.
  QueuePool(const Driver& driver, Context context) : driver_(driver), context_(context) {}
  Result<QueuePlace*> take();
  // Is handed out again when what was announced has ended.
  void give_back(QueuePlace* place);

 private:
  QueuePlace* take_free();  // null: there is none
  Status grow();
  Status clear(DevicePointer memory, size_t bytes) const;

  const Driver& driver_;
  Context context_;
  Mutex mutex_;
  std::vector<std::unique_ptr<QueuePlace[]>> pieces_ RAILCCL_GUARDED_BY(mutex_);
  std::vector<QueuePlace*> free_ RAILCCL_GUARDED_BY(mutex_);
  std::vector<QueuePlace*> leaving_ RAILCCL_GUARDED_BY(mutex_);  // given back, not ended
};

}  // namespace railccl::cuda
