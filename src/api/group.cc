#include "src/api/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "src/api/export.h"
#include "src/api/last_error.h"
#include "src/core/runtime.h"

namespace railccl {
namespace {

struct Pending {
  std::shared_ptr<Communicator> communicator;
  std::shared_ptr<DeviceCalls> device;  // null: a host call
  std::vector<HostStream*> streams;     // host; none: the caller waits
  std::vector<DeviceStream> device_streams;
  std::shared_ptr<DeviceCalls> after;  // a host call comes after what these were given
  std::shared_ptr<Operation> operation;

  void add(const CallStream& stream) {
    const auto add_once = [](auto& list, auto* one) {
      if (std::ranges::find(list, one) == list.end()) list.push_back(one);
    };
    if (device) {
      add_once(device_streams, stream.of_device);
    } else if (stream.host != nullptr) {
      add_once(streams, stream.host);
    }
  }
  bool caller_waits() const { return !device && streams.empty(); }
};

struct Group {
  int depth = 0;
  Status first_error;  // of a call inside; the end of the group answers with it
  std::vector<std::function<Status()>> starts;
  std::vector<Pending> collectives;
  std::vector<Pending> transfers;  // one per communicator, and one more for those of its GPU
};

Pending make_pending(const std::shared_ptr<Communicator>& communicator, const CallStream& stream) {
  Pending pending{.communicator = communicator,
                  .device = stream.device,
                  .after = stream.after,
                  .operation = std::make_shared<Operation>()};
  pending.add(stream);
  return pending;
}

constexpr unsigned kSimInfoMagic = 0x74685283;

thread_local Group group;

// What was called on a GPU before, in the order in which other ranks have called it, too.
void let_end(DeviceCalls* calls, const Communicator& communicator) {
  if (calls == nullptr) return;
  calls->finish(communicator.parts().options.bootstrap.rank_timeout_ns);
}

Status begin(const Pending& pending) {
  if (pending.device) return pending.device->enqueue(pending.operation, pending.device_streams);
  let_end(pending.after.get(), *pending.communicator);
  for (HostStream* stream : pending.streams) stream->append(pending.operation);
  Status status = pending.communicator->submit_for_caller(pending.operation);
  // Its streams must not wait for what will never run.
  if (!status) pending.operation->completion.complete(status);
  return status;
}

Status run_starts(std::vector<std::function<Status()>> starts) {
  std::vector<Status> results(starts.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < starts.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = starts[i](); });
  }
  for (std::thread& thread : threads) thread.join();
  const auto failed = std::find_if(results.begin(), results.end(),
                                   [](const Status& status) { return !status.is_ok(); });
  return failed == results.end() ? Status::ok() : *failed;
}

// Begins everything, then waits for what has no stream.
Status run_operations(const std::vector<Pending>& operations) {
  Status first_error;
  const auto note = [&first_error](const Status& status) {
    if (first_error.is_ok()) first_error = status;
  };
  std::vector<Pending> begun;
  for (const Pending& pending : operations) {
    const Status status = begin(pending);
    note(status);
    if (status && pending.caller_waits()) begun.push_back(pending);
  }
  for (const Pending& pending : begun) {
    pending.communicator->wait(*pending.operation);
    note(pending.operation->completion.status());
  }
  return first_error;
}

// Ends the group without running it; says how long the cost model thinks it would take.
Status simulate_group(ncclSimInfo_t* sim_info) {
  if (sim_info == nullptr) {
    return error(Code::kInvalidArgument, "argument simInfo of ncclGroupSimulateEnd is NULL");
  }
  if (sim_info->magic != kSimInfoMagic) {
    return error(
        Code::kInvalidArgument,
        "argument simInfo of ncclGroupSimulateEnd was not set by NCCL_SIM_INFO_INITIALIZER");
  }
  if (group.depth == 0) {
    return error(Code::kInvalidUsage, "ncclGroupSimulateEnd without ncclGroupStart on this thread");
  }
  if (--group.depth > 0) return Status::ok();
  const Group ended = std::exchange(group, Group{});
  RAILCCL_TRY(ended.first_error);
  double seconds = 0;
  for (const Pending& pending : ended.collectives) {
    RAILCCL_ASSIGN(const Decision decision, pending.communicator->explain(pending.operation->call));
    seconds += decision.chosen.seconds;
  }
  sim_info->estimatedTime = static_cast<float>(seconds * 1e6);
  return Status::ok();
}

}  // namespace

Status end_group() {
  if (group.depth == 0) {
    return error(Code::kInvalidUsage, "ncclGroupEnd without ncclGroupStart on this thread");
  }
  if (--group.depth > 0) return Status::ok();
  const Group ended = std::exchange(group, Group{});
  RAILCCL_TRY(ended.first_error);
  RAILCCL_TRY(run_starts(ended.starts));
  std::vector<Pending> operations = ended.collectives;
  operations.insert(operations.end(), ended.transfers.begin(), ended.transfers.end());
  return run_operations(operations);
}

bool in_group() { return group.depth > 0; }

Status enqueue(const std::shared_ptr<Communicator>& communicator, const Call& call,
               const CallStream& stream) {
  if (group.depth == 0 && !stream.device && stream.host == nullptr) {
    let_end(stream.after.get(), *communicator);
    return communicator->run(call);
  }
  Pending pending = make_pending(communicator, stream);
  pending.operation->call = call;
  if (group.depth == 0) return begin(pending);
  group.collectives.push_back(std::move(pending));
  return Status::ok();
}

Status enqueue(const std::shared_ptr<Communicator>& communicator, const P2pTransfer& transfer,
               const CallStream& stream) {
  const auto found = std::ranges::find_if(group.transfers, [&](const Pending& pending) {
    return pending.communicator == communicator && pending.device == stream.device;
  });
  if (group.depth > 0 && found != group.transfers.end()) {
    found->operation->transfers.push_back(transfer);
    found->add(stream);
    return Status::ok();
  }
  Pending pending = make_pending(communicator, stream);
  pending.operation->transfers = {transfer};
  if (group.depth == 0) return run_operations({pending});
  group.transfers.push_back(std::move(pending));
  return Status::ok();
}

Status enqueue_start(std::function<Status()> start) {
  if (group.depth == 0) return start();
  group.starts.push_back(std::move(start));
  return Status::ok();
}

void fail_group(const Status& status) {
  if (group.depth > 0 && group.first_error.is_ok()) group.first_error = status;
}

ncclResult_t answer(const Status& status) {
  if (!status) fail_group(status);
  return report(status);
}

}  // namespace railccl

RAILCCL_API(ncclResult_t, GroupStart, (void)) {
  ++railccl::group.depth;
  return ncclSuccess;
}

RAILCCL_API(ncclResult_t, GroupEnd, (void)) { return railccl::report(railccl::end_group()); }

RAILCCL_API(ncclResult_t, GroupSimulateEnd, (ncclSimInfo_t * simInfo)) {
  return railccl::report(railccl::simulate_group(simInfo));
}
