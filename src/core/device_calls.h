// The calls on memory of a GPU that a communicator has been given: each waits for its stream, goes
// as calls of the communicator through memory that the other ranks reach (device_task.h), and then
// lets the stream go on. One call at a time, in the order in which they were called; of a graph, in
// which it comes to them. So ranks must replay graphs in the same order among their other calls, as
// they call everything else.
//
// Threading: enqueue, finish and close any thread; it is driven under the driver lock.
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

class DeviceCalls final : private EngineClient {
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
  // Waits until all calls have ended; those that do not in `timeout` fail the communicator.
  void finish(TimeNs timeout);
  // Takes no more calls, graphs' neither. Those that are there end without a result: nothing
  // touches the callers' buffers any more. For after finish(), or when the communicator has failed.
  void close();

 private:
  struct Pending {
    std::shared_ptr<Operation> operation;
    std::vector<std::shared_ptr<DeviceQueue>> queues;  // the first one works, the others wait
    std::unique_ptr<DeviceTask> task;                  // null: not begun
    TimeNs since = 0;                                  // of the call
    bool replayed = false;                             // by a graph
    bool told_to_end = false;
  };
  // What graphs may come to when there are no calls any more. Any thread.
  struct Inbox {
    explicit Inbox(std::shared_ptr<Engine> its_engine) : engine(std::move(its_engine)) {}
    // False: closed.
    bool push(Pending call);
    std::vector<Pending> take();

    const std::shared_ptr<Engine> engine;
    std::atomic<int> waiting{0};  // calls that have not ended
    Mutex mutex;
    std::vector<Pending> calls RAILCCL_GUARDED_BY(mutex);
    bool closed RAILCCL_GUARDED_BY(mutex) = false;
  };
  // What a graph does each time that it comes to a call that it has captured.
  struct Content {
    Call call;
    std::vector<P2pTransfer> transfers;
  };

  DeviceCalls(std::shared_ptr<Communicator> communicator, std::shared_ptr<Engine> engine,
              std::shared_ptr<Device> device, uint64_t slot_bytes);
  Status take_staging() RAILCCL_REQUIRES(enqueue_mutex_);
  void give_staging_back();
  static void on_reached(Inbox& inbox, const Content& content, const Device::Launch& launch);

  // EngineClient
  bool progress(TimeNs now) override;
  bool has_work() const override { return inbox_->waiting.load(std::memory_order_acquire) > 0; }
  bool polls() const override { return has_work(); }
  TimeNs next_deadline() const override;
  void prepare_sleep() override {}
  void finish_sleep(TimeNs /*now*/, SleepEnd /*end*/) override {}
  bool depart() override { return !has_work(); }

  // The rest is the driver's.
  bool take_calls();
  Result<bool> advance(Pending& call);
  static void tell_to_end(Pending& call);
  void end(Pending& call, const Status& status);
  bool fail_all(const Status& status);
  bool forget_ended();

  std::shared_ptr<Communicator> communicator_;
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<Inbox> inbox_;
  uint64_t slot_bytes_;
  StagingMemory pinned_;     // taken before the first call is launched
  StagingMemory on_device_;  // the device domain's
  Mutex enqueue_mutex_;      // calls are in the streams in the order in which they run
  TimeNs now_ = 0;
  std::deque<Pending> calls_;
  std::vector<std::shared_ptr<DeviceQueue>> ending_;  // told to end, and may not have yet
};

}  // namespace railccl
