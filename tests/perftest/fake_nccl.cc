#include "tests/perftest/fake_nccl.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "tests/perftest/fake_reduce.h"

namespace {

using railccl::fake_nccl::bytes_of;
using railccl::fake_nccl::Hook;
using railccl::fake_nccl::Reduction;

enum class Kind {
  kAllReduce,
  kReduce,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kAlltoAll,
  kGather,
  kScatter,
  kSend,
  kRecv
};
constexpr const char* kNames[] = {"AllReduce", "Reduce", "ReduceScatter", "AllGather", "Broadcast",
                                  "AlltoAll",  "Gather", "Scatter",       "Send",      "Recv"};

struct Call {
  Kind kind = Kind::kAllReduce;
  const std::byte* send = nullptr;
  std::byte* recv = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat;
  ncclRedOp_t op = ncclSum;
  int root = 0;  // or peer
  std::array<std::byte, 8> scalar{};
};

// The ranks of one communicator, which all meet at each step.
struct Ranks {
  explicit Ranks(int n) : calls(static_cast<size_t>(n)), sends(static_cast<size_t>(n)) {}

  bool meet() {
    std::unique_lock lock(mutex);
    if (revoked) return false;
    if (++waiting == calls.size()) {
      waiting = 0;
      ++meeting;
      changed.notify_all();
      return true;
    }
    const auto mine = meeting;
    changed.wait(lock, [&] { return meeting != mine || revoked; });
    return meeting != mine;
  }
  void revoke() {
    const std::lock_guard lock(mutex);
    revoked = true;
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable changed;
  size_t waiting = 0;
  uint64_t meeting = 0;
  bool revoked = false;
  std::vector<Call> calls;               // by rank: the collective in progress
  std::vector<std::vector<Call>> sends;  // by rank: of the group in progress
};

std::mutex registry_mutex;
std::map<std::string, std::shared_ptr<Ranks>> registry;  // by unique id
Hook hook;
std::atomic<int> operation_count{0};
std::atomic<int> communicator_count{0};
std::atomic<int> next_id{1};

std::mutex revocation_mutex;
std::condition_variable revocation_changed;
bool any_revoked = false;  // since set_hook

thread_local int group_depth = 0;
thread_local std::string last_error;

ncclResult_t fail(ncclResult_t result, std::string why) {
  last_error = std::move(why);
  return result;
}

}  // namespace

struct ncclComm {
  std::shared_ptr<Ranks> ranks;
  int rank = 0;
  std::map<int, std::array<std::byte, 8>> scalars;  // of ncclRedOpCreatePreMulSum
  int next_op = ncclNumOps;

  size_t size() const { return ranks->calls.size(); }
};

namespace {

thread_local std::vector<std::pair<ncclComm_t, Call>> grouped;

// The bytes that `call` leaves in its receive buffer, from all ranks' calls.
std::vector<std::byte> result_of(const ncclComm& comm, const Call& call) {
  const auto& calls = comm.ranks->calls;
  const size_t n = comm.size();
  const auto me = static_cast<size_t>(comm.rank);
  const auto root = static_cast<size_t>(call.root);
  const size_t block = call.count * bytes_of(call.type);
  std::vector<std::byte> out;
  const auto copy = [&](const std::byte* from) { out.insert(out.end(), from, from + block); };
  const auto reduce = [&](size_t first) {
    Reduction reduction{.type = call.type, .op = call.op};
    for (const Call& other : calls) {
      reduction.inputs.push_back(other.send);
      reduction.scalars.push_back(other.scalar.data());
    }
    out.resize(block);
    reduce_elements(reduction, first, call.count, out.data());
  };
  switch (call.kind) {
    case Kind::kAllReduce:
      reduce(0);
      break;
    case Kind::kReduce:
      if (me == root) reduce(0);
      break;
    case Kind::kReduceScatter:
      reduce(me * call.count);
      break;
    case Kind::kAllGather:
      for (const Call& other : calls) copy(other.send);
      break;
    case Kind::kBroadcast:
      copy(calls[root].send);
      break;
    case Kind::kAlltoAll:
      for (size_t rank = 0; rank < n; ++rank) copy(calls[rank].send + me * block);
      break;
    case Kind::kGather:
      for (size_t rank = 0; me == root && rank < n; ++rank) copy(calls[rank].send);
      break;
    case Kind::kScatter:
      copy(calls[root].send + me * block);
      break;
    case Kind::kSend:
    case Kind::kRecv:
      break;
  }
  return out;
}

ncclResult_t deliver(const ncclComm& comm, const Call& call, const std::vector<std::byte>& out) {
  if (!out.empty()) std::memcpy(call.recv, out.data(), out.size());
  ++operation_count;
  if (!hook) return ncclSuccess;
  const ncclResult_t result =
      hook(comm.rank, kNames[static_cast<int>(call.kind)], {call.recv, out.size()});
  if (result == ncclSuccess) return result;
  return fail(result, "the test's hook failed this call");
}

ncclResult_t revoked() { return fail(ncclRemoteError, "the communicator was revoked"); }

// These have no in-place form.
ncclResult_t into_its_own_source() {
  return fail(ncclInvalidUsage, "it would receive into what it sends");
}

ncclResult_t run_collective(ncclComm_t comm, const Call& call) {
  if (call.kind == Kind::kAlltoAll && call.send == call.recv) return into_its_own_source();
  Ranks& ranks = *comm->ranks;
  ranks.calls[static_cast<size_t>(comm->rank)] = call;
  if (!ranks.meet()) return revoked();
  const std::vector<std::byte> out = result_of(*comm, call);
  if (!ranks.meet()) return revoked();
  return deliver(*comm, call, out);
}

// All sends and receives of one group.
ncclResult_t run_point_to_point(ncclComm_t comm, const std::vector<Call>& calls) {
  for (const Call& send : calls) {
    for (const Call& receive : calls) {
      if (send.send != nullptr && send.send == receive.recv) return into_its_own_source();
    }
  }
  Ranks& ranks = *comm->ranks;
  auto& mine = ranks.sends[static_cast<size_t>(comm->rank)];
  mine.clear();
  for (const Call& call : calls) {
    if (call.kind == Kind::kSend) mine.push_back(call);
  }
  if (!ranks.meet()) return revoked();
  std::vector<std::pair<Call, std::vector<std::byte>>> received;
  std::map<int, size_t> taken;  // sends of each peer already received
  for (const Call& call : calls) {
    if (call.kind != Kind::kRecv) continue;
    size_t skip = taken[call.root]++;
    for (const Call& sent : ranks.sends[static_cast<size_t>(call.root)]) {
      if (sent.root != comm->rank || skip-- > 0) continue;
      received.emplace_back(call,
                            std::vector(sent.send, sent.send + sent.count * bytes_of(sent.type)));
      break;
    }
  }
  if (!ranks.meet()) return revoked();
  for (const auto& [call, out] : received) {
    if (const auto result = deliver(*comm, call, out); result != ncclSuccess) return result;
  }
  return ncclSuccess;
}

ncclResult_t run_grouped() {
  const auto calls = std::exchange(grouped, {});
  std::vector<Call> point_to_point;
  ncclComm_t comm = nullptr;
  for (const auto& [its_comm, call] : calls) {
    comm = its_comm;
    if (call.kind == Kind::kSend || call.kind == Kind::kRecv) {
      point_to_point.push_back(call);
    } else if (const auto result = run_collective(its_comm, call); result != ncclSuccess) {
      return result;
    }
  }
  return point_to_point.empty() ? ncclSuccess : run_point_to_point(comm, point_to_point);
}

ncclResult_t submit(ncclComm_t comm, Call call) {
  if (call.op >= ncclNumOps) call.scalar = comm->scalars[call.op];
  grouped.emplace_back(comm, call);
  return group_depth > 0 ? ncclSuccess : run_grouped();
}

const std::byte* in(const void* p) { return static_cast<const std::byte*>(p); }
std::byte* out(void* p) { return static_cast<std::byte*>(p); }

}  // namespace

namespace railccl::fake_nccl {

void set_hook(Hook new_hook) {
  hook = std::move(new_hook);
  const std::lock_guard lock(revocation_mutex);
  any_revoked = false;
}

ncclResult_t wait_until_revoked() {
  std::unique_lock lock(revocation_mutex);
  const bool in_time =
      revocation_changed.wait_for(lock, std::chrono::minutes(1), [] { return any_revoked; });
  return in_time ? ncclRemoteError : ncclInternalError;
}

int operations() { return operation_count; }
int communicators() { return communicator_count; }

}  // namespace railccl::fake_nccl

extern "C" {

ncclResult_t ncclAllReduce(const void* s, void* r, size_t n, ncclDataType_t t, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t) {
  return submit(comm, {Kind::kAllReduce, in(s), out(r), n, t, op});
}
ncclResult_t ncclReduce(const void* s, void* r, size_t n, ncclDataType_t t, ncclRedOp_t op,
                        int root, ncclComm_t comm, cudaStream_t) {
  return submit(comm, {Kind::kReduce, in(s), out(r), n, t, op, root});
}
ncclResult_t ncclReduceScatter(const void* s, void* r, size_t n, ncclDataType_t t, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t) {
  return submit(comm, {Kind::kReduceScatter, in(s), out(r), n, t, op});
}
ncclResult_t ncclAllGather(const void* s, void* r, size_t n, ncclDataType_t t, ncclComm_t comm,
                           cudaStream_t) {
  return submit(comm, {Kind::kAllGather, in(s), out(r), n, t});
}
ncclResult_t ncclBroadcast(const void* s, void* r, size_t n, ncclDataType_t t, int root,
                           ncclComm_t comm, cudaStream_t) {
  return submit(comm, {Kind::kBroadcast, in(s), out(r), n, t, ncclSum, root});
}
ncclResult_t ncclBcast(void* b, size_t n, ncclDataType_t t, int root, ncclComm_t comm,
                       cudaStream_t) {
  return submit(comm, {Kind::kBroadcast, in(b), out(b), n, t, ncclSum, root});
}
ncclResult_t ncclAlltoAll(const void* s, void* r, size_t n, ncclDataType_t t, ncclComm_t comm,
                          cudaStream_t) {
  return submit(comm, {Kind::kAlltoAll, in(s), out(r), n, t});
}
ncclResult_t ncclGather(const void* s, void* r, size_t n, ncclDataType_t t, int root,
                        ncclComm_t comm, cudaStream_t) {
  return submit(comm, {Kind::kGather, in(s), out(r), n, t, ncclSum, root});
}
ncclResult_t ncclScatter(const void* s, void* r, size_t n, ncclDataType_t t, int root,
                         ncclComm_t comm, cudaStream_t) {
  return submit(comm, {Kind::kScatter, in(s), out(r), n, t, ncclSum, root});
}
ncclResult_t ncclSend(const void* s, size_t n, ncclDataType_t t, int peer, ncclComm_t comm,
                      cudaStream_t) {
  return submit(comm, {Kind::kSend, in(s), nullptr, n, t, ncclSum, peer});
}
ncclResult_t ncclRecv(void* r, size_t n, ncclDataType_t t, int peer, ncclComm_t comm,
                      cudaStream_t) {
  return submit(comm, {Kind::kRecv, nullptr, out(r), n, t, ncclSum, peer});
}

ncclResult_t ncclGroupStart(void) {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd(void) { return --group_depth > 0 ? ncclSuccess : run_grouped(); }

ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t* op, void* scalar, ncclDataType_t type,
                                      ncclScalarResidence_t, ncclComm_t comm) {
  *op = static_cast<ncclRedOp_t>(comm->next_op++);
  std::memcpy(comm->scalars[*op].data(), scalar, bytes_of(type));
  return ncclSuccess;
}
ncclResult_t ncclRedOpDestroy(ncclRedOp_t op, ncclComm_t comm) {
  return comm->scalars.erase(op) == 1 ? ncclSuccess : fail(ncclInvalidArgument, "no such op");
}

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSuccess ? "no error" : "fake error";
}
const char* ncclGetLastError(ncclComm_t) { return last_error.c_str(); }
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->internal, sizeof id->internal, "fake %d", next_id++);
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int n, ncclUniqueId id, int rank,
                                    ncclConfig_t*) {
  const std::lock_guard lock(registry_mutex);
  auto& ranks = registry[id.internal];
  if (!ranks) ranks = std::make_shared<Ranks>(n);
  *comm = new ncclComm{.ranks = ranks, .rank = rank};
  ++communicator_count;
  return ncclSuccess;
}
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int n, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(comm, n, id, rank, nullptr);
}
ncclResult_t railcclCommInitFromEnv(ncclComm_t* comm) {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  return ncclCommInitRank(comm, 1, id, 0);
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  --communicator_count;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->ranks->revoke();
  return ncclCommDestroy(comm);
}
ncclResult_t ncclCommRevoke(ncclComm_t comm, int) {
  comm->ranks->revoke();
  const std::lock_guard lock(revocation_mutex);
  any_revoked = true;
  revocation_changed.notify_all();
  return ncclSuccess;
}
ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  *count = static_cast<int>(comm->size());
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  *rank = comm->rank;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  *state = ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclMemAlloc(void** memory, size_t bytes) {
  *memory = ::operator new(bytes, std::align_val_t(4096));
  return ncclSuccess;
}
ncclResult_t ncclMemFree(void* memory) {
  ::operator delete(memory, std::align_val_t(4096));
  return ncclSuccess;
}
ncclResult_t ncclCommRegister(const ncclComm_t, void* buffer, size_t, void** handle) {
  *handle = buffer;
  return ncclSuccess;
}
ncclResult_t ncclCommDeregister(const ncclComm_t, void*) { return ncclSuccess; }
ncclResult_t ncclCommWindowRegister(ncclComm_t, void* buffer, size_t, ncclWindow_t* window, int) {
  *window = static_cast<ncclWindow_t>(buffer);
  return ncclSuccess;
}
ncclResult_t ncclCommWindowDeregister(ncclComm_t, ncclWindow_t) { return ncclSuccess; }

const char* railcclVersion(void) { return "0.0.0-fake"; }
ncclResult_t railcclStreamCreate(railcclStream_t* stream) {
  *stream = reinterpret_cast<railcclStream_t>(new int(0));
  return ncclSuccess;
}
ncclResult_t railcclStreamSynchronize(railcclStream_t) { return ncclSuccess; }
ncclResult_t railcclStreamDestroy(railcclStream_t stream) {
  delete reinterpret_cast<int*>(stream);
  return ncclSuccess;
}
// Rank r has r % 3 rails.
ncclResult_t railcclCommRailStats(ncclComm_t comm, railcclRailStats_t* stats, int capacity,
                                  int* count) {
  *count = comm->rank % 3;
  for (int i = 0; i < *count && i < capacity; ++i) {
    stats[i] = {};
    std::snprintf(stats[i].name, sizeof stats[i].name, "fake%d", i);
    std::snprintf(stats[i].transport, sizeof stats[i].transport, "tcp");
    stats[i].bytes_sent = static_cast<uint64_t>(1000 * comm->rank + i);
    stats[i].share = 1.0 / *count;
  }
  return ncclSuccess;
}

}  // extern "C"
