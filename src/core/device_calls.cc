#include "src/core/device_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "src/base/log.h"

namespace railccl {
namespace {

// Between two looks of a driver that sleeps: a GPU rings no descriptor.
constexpr TimeNs kLookSoon = 10 * kMicrosecond;
constexpr TimeNs kLookLater = 100 * kMicrosecond;
constexpr TimeNs kSoon = kMillisecond;  // after the call was made
constexpr TimeNs kEndTimeout = 2 * kSecond;

}  // namespace

Result<std::shared_ptr<DeviceCalls>> DeviceCalls::create(std::shared_ptr<Communicator> communicator,
                                                         std::shared_ptr<Engine> engine,
                                                         std::shared_ptr<Device> device,
                                                         uint64_t slot_bytes) {
  const auto& domain = communicator->parts().device;
  if (domain != nullptr && domain->device() != device) {
    return error(
        Code::kInvalidUsage,
        "the communicator was made when its thread had chosen GPU {}; the memory of this call "
        "is of GPU {}",
        domain->device()->ordinal(), device->ordinal());
  }
  std::shared_ptr<DeviceCalls> calls(
      new DeviceCalls(std::move(communicator), std::move(engine), std::move(device), slot_bytes));
  const DriverLock held(*calls->engine_);
  calls->engine_->add_client(calls.get());
  return calls;
}

DeviceCalls::DeviceCalls(std::shared_ptr<Communicator> communicator, std::shared_ptr<Engine> engine,
                         std::shared_ptr<Device> device, uint64_t slot_bytes)
    : communicator_(std::move(communicator)),
      engine_(std::move(engine)),
      device_(std::move(device)),
      slot_bytes_(slot_bytes) {
  const auto& domain = communicator_->parts().device;
  if (domain == nullptr) return;
  const SharedDeviceMemory& own = domain->own();
  on_device_ = {.begin = {.host = own.address, .device = own.address},
                .slot_bytes = (own.bytes - StagingMemory::kScalarBytes) / StagingMemory::kSlots,
                .on_device = true};
}

DeviceCalls::~DeviceCalls() {
  abandon();
  give_staging_back();
}

// In the shared heap, so that the other ranks of the node reach it without copies of their own.
Status DeviceCalls::take_staging() {
  if (pinned_.slot_bytes > 0) return Status::ok();
  StagingMemory staging{.slot_bytes = staging_slot_bytes(slot_bytes_, communicator_->ranks())};
  const uint64_t bytes = staging.bytes() + StagingMemory::kScalarBytes;
  RAILCCL_ASSIGN(void* const memory, shared_heap_allocate(bytes));
  auto* const host = static_cast<std::byte*>(memory);
  const auto on_device = device_->pin(host, bytes);
  if (!on_device) {
    static_cast<void>(shared_heap_free(memory));
    return on_device.error();
  }
  staging.begin = {.host = host, .device = *on_device};
  pinned_ = staging;
  return Status::ok();
}

void DeviceCalls::give_staging_back() {
  if (pinned_.begin.host == nullptr) return;
  // A kernel that does not end may still write there.
  if (!ending_.empty()) {
    RAILCCL_WARN(Subsys::kColl,
                 "communicator {}: GPU {} has not ended its last call; {} bytes stay",
                 communicator_->name(), device_->ordinal(), pinned_.bytes());
    return;
  }
  device_->unpin(pinned_.begin.host);
  static_cast<void>(shared_heap_free(pinned_.begin.host));
}

bool DeviceCalls::needs_pinned(const Operation& operation) const {
  return on_device_.slot_bytes == 0 || !operation.transfers.empty() ||
         operation.call.scalar_on_device != nullptr;
}

Status DeviceCalls::enqueue(const std::shared_ptr<Operation>& operation,
                            std::span<const DeviceStream> streams) {
  RAILCCL_TRY(communicator_->error());
  Pending call{.operation = operation, .since = system_clock().now_ns()};
  const MutexLock in_order(enqueue_mutex_);
  if (needs_pinned(*operation)) RAILCCL_TRY(take_staging());
  for (const DeviceStream stream : streams) {
    auto holder = std::make_shared<std::weak_ptr<DeviceQueue>>();
    auto reached = [self = weak_from_this(), holder,
                    content = Content{operation->call, operation->transfers}] {
      const auto queue = holder->lock();
      if (!queue) return;
      if (const auto calls = self.lock()) return calls->on_reached(queue, content);
      // Its communicator is gone: the stream goes on, the buffers stay as they are.
      queue->begin();
      queue->end();
    };
    auto launched = device_->launch(stream, std::move(reached));
    if (!launched) {
      for (const auto& queue : call.queues) queue->end();
      return launched.error().with_context(
          fmt::format("a call on memory of GPU {}", device_->ordinal()));
    }
    *holder = launched->queue;
    if (launched->captured && streams.size() > 1) {
      return error(Code::kInvalidUsage,
                   "a group of sends and receives over {} streams cannot be captured in a graph; "
                   "give all of them to one stream",
                   streams.size());
    }
    if (launched->captured) return Status::ok();
    launched->queue->begin();
    call.queues.push_back(std::move(launched->queue));
  }
  push(std::move(call));
  return Status::ok();
}

void DeviceCalls::on_reached(const std::shared_ptr<DeviceQueue>& queue, const Content& content) {
  auto operation = std::make_shared<Operation>();
  operation->call = content.call;
  operation->transfers = content.transfers;
  queue->begin();
  push({.operation = std::move(operation), .queues = {queue}, .since = system_clock().now_ns()});
}

void DeviceCalls::push(Pending call) {
  {
    const MutexLock guard(pushed_mutex_);
    if (closed_) {
      for (const auto& queue : call.queues) queue->end();
      call.operation->completion.complete(communicator_->error());
      return;
    }
    pushed_.push_back(std::move(call));
    waiting_.fetch_add(1, std::memory_order_release);
  }
  engine_->kick();
}

bool DeviceCalls::take_pushed() {
  const MutexLock guard(pushed_mutex_);
  if (pushed_.empty()) return false;
  std::ranges::move(pushed_, std::back_inserter(calls_));
  pushed_.clear();
  return true;
}

bool DeviceCalls::progress(TimeNs now) {
  now_ = now;
  bool worked = forget_ended();
  if (!has_work()) return worked;
  worked |= take_pushed();
  if (const Status failed = communicator_->error(); !failed) return fail_all(failed);
  while (!calls_.empty()) {
    Pending& call = calls_.front();
    const Result<bool> moved = advance(call);
    if (!moved) {
      communicator_->fail(moved.error());
      return fail_all(moved.error());
    }
    worked |= *moved;
    if (call.task == nullptr || !call.task->finished()) break;
    end(call, Status::ok());
    calls_.pop_front();
    worked = true;
  }
  return worked;
}

// A stream that has not come so far, and all after it, wait.
Result<bool> DeviceCalls::advance(Pending& call) {
  bool worked = false;
  if (call.task == nullptr) {
    if (!std::ranges::all_of(call.queues, &DeviceQueue::started)) return false;
    const DeviceTaskServices services{.communicator = *communicator_,
                                      .queue = *call.queues.front(),
                                      .pinned = pinned_,
                                      .on_device = on_device_};
    const Operation& operation = *call.operation;
    call.task = operation.transfers.empty() ? make_collective_task(services, operation.call)
                                            : make_transfers_task(services, operation.transfers);
    worked = true;
  }
  for (;;) {
    RAILCCL_ASSIGN(const bool moved, call.task->step());
    if (!moved) break;
    worked = true;
  }
  if (call.task->all_submitted()) tell_to_end(call);
  return worked;
}

void DeviceCalls::tell_to_end(Pending& call) {
  if (std::exchange(call.told_to_end, true)) return;
  for (const auto& queue : call.queues) queue->end();
}

void DeviceCalls::end(Pending& call, const Status& status) {
  tell_to_end(call);
  std::ranges::copy(call.queues, std::back_inserter(ending_));
  call.operation->completion.complete(status);
  waiting_.fetch_sub(1, std::memory_order_release);
}

bool DeviceCalls::fail_all(const Status& status) {
  take_pushed();
  const bool any = !calls_.empty();
  for (Pending& call : calls_) end(call, status);
  calls_.clear();
  return any;
}

// Ended, or not begun: then its end waits for it in the queue.
bool DeviceCalls::forget_ended() {
  return std::erase_if(ending_, [](const std::shared_ptr<DeviceQueue>& queue) {
           return queue->ended() || !queue->started();
         }) > 0;
}

TimeNs DeviceCalls::next_deadline() const {
  if (!has_work()) return kNever;
  const bool soon =
      !calls_.empty() && (calls_.front().task != nullptr || now_ < calls_.front().since + kSoon);
  return now_ + (soon ? kLookSoon : kLookLater);
}

void DeviceCalls::finish(TimeNs timeout) {
  const TimeNs deadline = system_clock().now_ns() + timeout;
  if (engine_->drive_until([this] { return !has_work(); }, deadline)) return;
  communicator_->fail(Status(
      Code::kTimeout,
      fmt::format("rank {}: {} calls on GPU {} did not end within {} s; their streams "
                  "have not reached them, or other ranks have not called the same",
                  communicator_->rank(), waiting_.load(), device_->ordinal(), timeout / kSecond)));
}

void DeviceCalls::abandon() {
  {
    const MutexLock guard(pushed_mutex_);
    if (std::exchange(closed_, true)) return;
  }
  const Status reason = communicator_->error();
  const auto over = [&] {
    fail_all(reason);
    forget_ended();
    return ending_.empty();
  };
  engine_->drive_until(over, system_clock().now_ns() + kEndTimeout);
  const DriverLock held(*engine_);
  engine_->remove_client(this);
}

}  // namespace railccl
