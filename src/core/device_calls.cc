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

bool DeviceCalls::Inbox::push(Pending call) {
  {
    const MutexLock guard(mutex);
    if (closed) return false;
    calls.push_back(std::move(call));
    waiting.fetch_add(1, std::memory_order_release);
  }
  engine->kick();
  return true;
}

std::vector<DeviceCalls::Pending> DeviceCalls::Inbox::take() {
  const MutexLock guard(mutex);
  return std::exchange(calls, {});
}

Result<std::shared_ptr<DeviceCalls>> DeviceCalls::create(std::shared_ptr<Communicator> communicator,
                                                         std::shared_ptr<Engine> engine,
                                                         std::shared_ptr<Device> device,
                                                         uint64_t slot_bytes) {
  const auto& domain = communicator->parts().device;
  if (domain != nullptr && domain->device() != device) {
    return error(Code::kInvalidUsage,
                 "the communicator was made when its thread had chosen GPU {}; the memory of this "
                 "call is of GPU {}",
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
      inbox_(std::make_shared<Inbox>(engine_)),
      slot_bytes_(slot_bytes) {
  const auto& domain = communicator_->parts().device;
  if (domain == nullptr) return;
  const SharedDeviceMemory& own = domain->own();
  on_device_ = {.begin = {.host = own.address, .device = own.address},
                .slot_bytes = own.bytes / StagingMemory::kSlots,
                .on_device = true};
}

DeviceCalls::~DeviceCalls() {
  close();
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
  if (pinned_.slot_bytes == 0) return;
  // A kernel that does not end may still write there.
  if (!ending_.empty()) {
    RAILCCL_WARN(Subsys::kColl,
                 "communicator {}: GPU {} has not ended its last call; {} bytes of memory stay",
                 communicator_->name(), device_->ordinal(), pinned_.bytes());
    return;
  }
  if (device_->unpin(pinned_.begin.host)) {
    static_cast<void>(shared_heap_free(pinned_.begin.host));
  }
}

Status DeviceCalls::enqueue(const std::shared_ptr<Operation>& operation,
                            std::span<const DeviceStream> streams) {
  RAILCCL_TRY(communicator_->error());
  const MutexLock in_order(enqueue_mutex_);
  RAILCCL_TRY(take_staging());
  const auto reached = [inbox = inbox_, content = Content{operation->call, operation->transfers}](
                           const Device::Launch& launch) { on_reached(*inbox, content, launch); };
  auto launch = device_->launch(streams, reached);
  if (!launch) {
    // Other ranks have begun what this one cannot.
    const Status failed = launch.error().with_context(fmt::format(
        "rank {}: a call on memory of GPU {}", communicator_->rank(), device_->ordinal()));
    if (failed.code() == Code::kDeviceError) communicator_->fail(failed);
    return failed;
  }
  if (launch->captured) return Status::ok();
  for (const auto& queue : launch->queues) queue->begin();
  Pending call{.operation = operation, .queues = launch->queues, .since = system_clock().now_ns()};
  if (inbox_->push(std::move(call))) return Status::ok();
  for (const auto& queue : launch->queues) queue->end();
  return error(Code::kInvalidUsage, "the communicator was finalized or aborted");
}

// On a thread of the driver, which must not be called from here.
void DeviceCalls::on_reached(Inbox& inbox, const Content& content, const Device::Launch& launch) {
  Pending call{.operation = std::make_shared<Operation>(),
               .queues = launch.queues,
               .since = system_clock().now_ns(),
               .replayed = true};
  call.operation->call = content.call;
  call.operation->transfers = content.transfers;
  if (inbox.push(std::move(call))) return;
  RAILCCL_WARN_ONCE(Subsys::kGraph, "graph",
                    "a graph was replayed whose communicator has ended: its calls have no result");
  for (const auto& queue : launch.queues) {
    queue->begin();
    queue->end();
  }
}

// What a graph has come to is there; what waits for a stream may be behind it.
bool DeviceCalls::take_calls() {
  std::vector<Pending> taken = inbox_->take();
  for (Pending& call : taken) {
    auto place = calls_.end();
    if (call.replayed) {
      for (const auto& queue : call.queues) queue->begin();
      place = std::ranges::find_if(
          calls_, [](const Pending& other) { return other.task == nullptr && !other.replayed; });
    }
    calls_.insert(place, std::move(call));
  }
  return !taken.empty();
}

bool DeviceCalls::progress(TimeNs now) {
  now_ = now;
  bool worked = forget_ended();
  if (!has_work()) return worked;
  worked |= take_calls();
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
  if (!status) {
    for (const auto& queue : call.queues) queue->cancel();
  } else {
    tell_to_end(call);
  }
  std::ranges::copy(call.queues, std::back_inserter(ending_));
  call.operation->completion.complete(status);
  inbox_->waiting.fetch_sub(1, std::memory_order_release);
}

bool DeviceCalls::fail_all(const Status& status) {
  take_calls();
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
  if (!has_work()) return ending_.empty() ? kNever : now_ + kLookLater;
  const bool soon =
      !calls_.empty() && (calls_.front().task != nullptr || now_ < calls_.front().since + kSoon);
  return now_ + (soon ? kLookSoon : kLookLater);
}

void DeviceCalls::finish(TimeNs timeout) {
  const TimeNs deadline = system_clock().now_ns() + timeout;
  const auto over = [this] { return !has_work() || !communicator_->error(); };
  if (engine_->drive_until(over, deadline)) return;
  communicator_->fail(Status(
      Code::kTimeout,
      fmt::format("rank {}: {} calls on GPU {} did not end within {} s; their streams have not "
                  "reached them, or other ranks have not called the same",
                  communicator_->rank(), inbox_->waiting.load(), device_->ordinal(),
                  timeout / kSecond)));
}

void DeviceCalls::close() {
  {
    const MutexLock guard(inbox_->mutex);
    if (std::exchange(inbox_->closed, true)) return;
  }
  Status reason = communicator_->error();
  if (reason) reason = Status(Code::kAborted, "the communicator was finalized");
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
