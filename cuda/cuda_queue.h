// The host's side of a resident kernel's queue (cuda/queue_memory.h). One thread at a time.
#pragma once

#include <deque>

#include "cuda/queue_memory.h"
#include "cuda/queue_pool.h"
#include "src/compute/device.h"

namespace railccl::cuda {

class CudaQueue final : public DeviceQueue {
 public:
  CudaQueue(QueuePool& pool, QueuePlace* place)
      : pool_(pool), place_(place), next_(place->posted) {}
  ~CudaQueue() override { pool_.give_back(place_); }
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  void begin() override { ++place_->runs; }
  bool started() const override;
  Ticket submit(const ReduceWork& work) override;
  Ticket submit(const CopyWork& work) override;
  Ticket submit(const ScaleWork& work) override;
  Ticket submit(const BlockCopy& copy) override;
  bool done(Ticket ticket) override;
  void end() override;
  void cancel() override;
  bool ended() override;

 private:
  // Numbers it, and posts it as soon as there is room. Its ticket is the number plus one.
  Ticket add(Command command, CommandKind kind);
  bool post(const Command& command, uint64_t number);
  void post_waiting();

  QueuePool& pool_;
  QueuePlace* place_;
  uint64_t next_;                // number of the next command
  std::deque<Command> waiting_;  // for room; the last ones before next_
  bool ending_ = false;          // after those that wait
};

}  // namespace railccl::cuda
