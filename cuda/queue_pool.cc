#include "cuda/queue_pool.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cuda/context.h"

namespace railccl::cuda {
namespace {

constexpr size_t kQueuesPerPiece = 256;

}  // namespace

bool QueuePlace::ended() const {
  return std::atomic_ref(memory->ended).load(std::memory_order_acquire) >= runs;
}

Result<QueuePlace*> QueuePool::take() {
  for (;;) {
    if (QueuePlace* const place = take_free()) return place;
    RAILCCL_TRY(grow());
  }
}

QueuePlace* QueuePool::take_free() {
  const MutexLock guard(mutex_);
  if (free_.empty()) {
    const auto ended = std::partition(leaving_.begin(), leaving_.end(),
                                      [](const QueuePlace* place) { return !place->ended(); });
    free_.assign(ended, leaving_.end());
    leaving_.erase(ended, leaving_.end());
  }
  if (free_.empty()) return nullptr;
  QueuePlace* const place = free_.back();
  free_.pop_back();
  return place;
}

void QueuePool::give_back(QueuePlace* place) {
  const MutexLock guard(mutex_);
  (place->ended() ? free_ : leaving_).push_back(place);
}

// In a stream of its own: the default one waits for others, and they for it.
Status QueuePool::clear(DevicePointer memory, size_t bytes) const {
  Stream stream = nullptr;
  RAILCCL_TRY(check(driver_, driver_.stream_create(&stream, kNonBlocking), "cuStreamCreate"));
  Status cleared =
      check(driver_, driver_.memory_set_async(memory, 0, bytes, stream), "cuMemsetD8Async");
  if (cleared) cleared = check(driver_, driver_.stream_synchronize(stream), "cuStreamSynchronize");
  driver_.stream_destroy(stream);
  return cleared;
}

// Without the mutex: it may wait for the GPU, and who gives back must not. What is asked for stays
// until the process ends: a kernel that was not reached yet may still look.
Status QueuePool::grow() {
  const MemoryScope scope(driver_, context_);
  void* host = nullptr;
  DevicePointer on_device = 0;
  DevicePointer scratch = 0;
  constexpr size_t kScratchBytes = kQueuesPerPiece * sizeof(QueueScratch);
  RAILCCL_TRY(check(driver_, driver_.memory_alloc(&scratch, kScratchBytes), "cuMemAlloc"));
  RAILCCL_TRY(clear(scratch, kScratchBytes));
  RAILCCL_TRY(check(
      driver_, driver_.host_alloc(&host, kQueuesPerPiece * sizeof(QueueMemory), kPortableAndMapped),
      "cuMemHostAlloc"));
  std::memset(host, 0, kQueuesPerPiece * sizeof(QueueMemory));
  RAILCCL_TRY(check(driver_, driver_.host_get_device_pointer(&on_device, host, 0),
                    "cuMemHostGetDevicePointer"));
  auto places = std::make_unique<QueuePlace[]>(kQueuesPerPiece);
  const MutexLock guard(mutex_);
  for (size_t i = 0; i < kQueuesPerPiece; ++i) {
    places[i].memory = static_cast<QueueMemory*>(host) + i;
    places[i].memory_on_device = on_device + i * sizeof(QueueMemory);
    places[i].scratch = scratch + i * sizeof(QueueScratch);
    free_.push_back(&places[i]);
  }
  pieces_.push_back(std::move(places));
  return Status::ok();
}

}  // namespace railccl::cuda
