// The calls on memory of a GPU that a communicator has been given: each waits for its stream, goes
// through pinned host memory as calls of the communicator (device_task.h), and then lets the stream
// go on. One call at a time, in the order of the calls.
//
// Threading: enqueue, finish and abandon any thread; it is driven under the driver lock.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "src/base/mutex.h"
#include "src/base/status.h"
#include "src/compute/device.h"
#include "src/core/communicator.h"
#include "src/core/device_task.h"
#include "src/core/engine.h"
#include "src/core/operation.h"

namespace railccl {

class DeviceCalls final : private EngineClient, public std::enable_shared_from_this<DeviceCalls> {
 public:
  // `slot_bytes`: of each of four slots of pinned memory, if that comes to be needed; more where
  // the number of ranks needs more. An error: the communicator was made for another GPU.
  static Result<std::shared_ptr<DeviceCalls>> create(std::shared_ptr<Communicator> communicator,
                                                     std::shared_ptr<Engine> engine,
                                                     std::shared_ptr<Device> device,
                                                     uint64_t slot_bytes);
  ~DeviceCalls() override;
  DeviceCalls(const DeviceCalls&) = delete;
  DeviceCalls& operator=(const DeviceCalls&) = delete;

  const Device& device() const { return *device_; }
  // Puts a call, whose pointers may be the GPU's, into the streams: it begins when all of them have
  // reached it, and they go on when it has ended. Its completion may come a little earlier.
  Status enqueue(const std::shared_ptr<Operation>& operation,
                 std::span<const DeviceStream> streams);
  // Waits until all calls have ended; those that their streams do not reach in `timeout` fail the
  // communicator.
  void finish(TimeNs timeout);
  // The communicator has failed: ends what is there. Nothing touches the callers' buffers any more.
  void abandon();

 private:
  struct Pending {
    std::shared_ptr<Operation> operation;
    std::vector<std::shared_ptr<DeviceQueue>> queues;  // the first one works, the others wait
    std::unique_ptr<DeviceTask> task;                  // null: not begun
    TimeNs since = 0;                                  // of enqueue
    bool told_to_end = false;
  };

  DeviceCalls(std::shared_ptr<Communicator> communicator, std::shared_ptr<Engine> engine,
              std::shared_ptr<Device> device, uint64_t slot_bytes);
  bool needs_pinned(const Operation& operation) const;
  Status take_staging() RAILCCL_REQUIRES(enqueue_mutex_);
  void give_staging_back();
  // What a graph does each time that it comes to a call that it has captured.
  struct Content {
    Call call;
    std::vector<P2pTransfer> transfers;
  };
  void on_reached(const std::shared_ptr<DeviceQueue>& queue, const Content& content);
  void push(Pending call);
  bool take_pushed();

  // EngineClient
  bool progress(TimeNs now) override;
  bool has_work() const override { return waiting_.load(std::memory_order_acquire) > 0; }
  bool polls() const override { return has_work(); }
  TimeNs next_deadline() const override;
  void prepare_sleep() override {}
  void finish_sleep(TimeNs /*now*/, bool /*quiet*/) override {}

  Result<bool> advance(Pending& call);
  void tell_to_end(Pending& call);
  void end(Pending& call, const Status& status);
  bool fail_all(const Status& status);
  bool forget_ended();

  std::shared_ptr<Communicator> communicator_;
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Device> device_;
  uint64_t slot_bytes_;
  StagingMemory pinned_;         // taken before the first call that needs it is launched
  StagingMemory on_device_;      // the device domain's
  std::atomic<int> waiting_{0};  // calls that have not ended
  Mutex enqueue_mutex_;          // calls are in the streams in the order in which they run
  Mutex pushed_mutex_;
  std::vector<Pending> pushed_ RAILCCL_GUARDED_BY(pushed_mutex_);
  bool closed_ RAILCCL_GUARDED_BY(pushed_mutex_) = false;
  // The driver's.
  TimeNs now_ = 0;
  std::deque<Pending> calls_;
  std::vector<std::shared_ptr<DeviceQueue>> ending_;  // told to end, and may not have yet
};

}  // namespace railccl
