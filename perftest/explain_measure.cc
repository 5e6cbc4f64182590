#include "perftest/explain_measure.h"

#include "perftest/common/types.h"

namespace railccl::perftest {
namespace {

constexpr int kTimes = 10;

// Library memory, zeroed by the system.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { ncclMemFree(memory_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Outcome<void> allocate(size_t bytes) {
    return check("ncclMemAlloc", ncclMemAlloc(&memory_, bytes));
  }
  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

ncclResult_t run(const railcclCall_t& call, const void* from, void* to, ncclComm_t comm) {
  switch (call.collective) {
    case railcclAllReduce:
      return ncclAllReduce(from, to, call.count, call.datatype, call.op, comm, nullptr);
    case railcclAllGather:
      return ncclAllGather(from, to, call.count, call.datatype, comm, nullptr);
    case railcclBroadcast:
      return ncclBroadcast(from, to, call.count, call.datatype, call.root, comm, nullptr);
    case railcclReduce:
      return ncclReduce(from, to, call.count, call.datatype, call.op, call.root, comm, nullptr);
    case railcclReduceScatter:
      return ncclReduceScatter(from, to, call.count, call.datatype, call.op, comm, nullptr);
    case railcclAllToAll:
      return ncclAlltoAll(from, to, call.count, call.datatype, comm, nullptr);
    case railcclGather:
      return ncclGather(from, to, call.count, call.datatype, call.root, comm, nullptr);
    case railcclScatter:
      return ncclScatter(from, to, call.count, call.datatype, call.root, comm, nullptr);
    default:
      return ncclInvalidArgument;
  }
}

}  // namespace

Outcome<void> measure_calls(ncclComm_t comm, int ranks, const std::vector<railcclCall_t>& calls) {
  for (const railcclCall_t& call : calls) {
    const size_t bytes = call.count * type_info(call.datatype).bytes * static_cast<size_t>(ranks);
    Buffer from;
    Buffer to;
    PERFTEST_TRY(from.allocate(bytes));
    PERFTEST_TRY(to.allocate(bytes));
    for (int i = 0; i <= kTimes; ++i) {
      PERFTEST_TRY(check("the call to measure", run(call, from.get(), to.get(), comm)));
    }
  }
  return {};
}

std::vector<railcclCall_t> usual_calls() {
  std::vector<railcclCall_t> calls;
  for (size_t bytes = 64 << 10; bytes <= (16 << 20); bytes *= 4) {
    calls.push_back({.collective = railcclAllReduce, .count = bytes / 4, .datatype = ncclFloat});
  }
  return calls;
}

}  // namespace railccl::perftest
