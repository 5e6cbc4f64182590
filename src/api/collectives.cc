// The collective functions of the C API: arguments checked, one by one by name, and made into
// calls.
#include <fmt/format.h>

#include <array>

#include "src/api/buffer.h"
#include "src/api/comm_handle.h"
#include "src/api/export.h"
#include "src/api/group.h"
#include "src/api/last_error.h"
#include "src/api/operators.h"
#include "src/api/stream.h"

namespace railccl {
namespace {

struct Arguments {
  std::string_view function;
  Collective collective = Collective::kAllReduce;
  const void* input = nullptr;
  void* output = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t op = ncclSum;
  int root = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
};

Status check_type(ncclDataType_t type, std::string_view function) {
  if (static_cast<int>(type) >= 0 && static_cast<int>(type) < ncclNumTypes) return Status::ok();
  return error(Code::kInvalidArgument,
               "argument datatype of {} is {}, not a type of ncclDataType_t", function,
               static_cast<int>(type));
}

Status check_rank(int rank, int ranks, std::string_view name, std::string_view function) {
  if (rank >= 0 && rank < ranks) return Status::ok();
  return error(Code::kInvalidArgument,
               "argument {} of {} is {}, but the communicator has ranks 0 to {}", name, function,
               rank, ranks - 1);
}

Status check_buffers(const Call& call, const Arguments& arguments, const Communicator& core) {
  const uint64_t in = input_bytes(call, core.rank(), core.ranks());
  const uint64_t out = output_bytes(call, core.rank(), core.ranks());
  if (call.count > (uint64_t{1} << 62) / (call.element() * static_cast<uint64_t>(core.ranks()))) {
    return error(Code::kInvalidArgument, "argument count of {} is {}, more than memory can hold",
                 arguments.function, call.count);
  }
  if (in > 0 && call.input == nullptr) {
    return error(Code::kInvalidArgument, "argument sendbuff of {} is NULL", arguments.function);
  }
  if (out > 0 && call.output == nullptr) {
    return error(Code::kInvalidArgument, "argument recvbuff of {} is NULL", arguments.function);
  }
  return Status::ok();
}

// Those that have any bytes on this rank.
class Buffers {
 public:
  Buffers(const Call& call, const Communicator& core) {
    if (input_bytes(call, core.rank(), core.ranks()) > 0) {
      add({.address = call.input, .name = "sendbuff", .element = call.element()});
    }
    if (output_bytes(call, core.rank(), core.ranks()) > 0) {
      add({.address = call.output, .name = "recvbuff", .element = call.element()});
    }
  }
  std::span<const BufferArgument> all() const { return {buffers_.data(), count_}; }

 private:
  void add(const BufferArgument& buffer) { buffers_[count_++] = buffer; }
  std::array<BufferArgument, 2> buffers_;
  size_t count_ = 0;
};

Status call_collective(const Arguments& arguments) {
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core,
                 core_of(arguments.comm, arguments.function));
  RAILCCL_TRY(check_type(arguments.type, arguments.function));
  Call call{.collective = arguments.collective,
            .type = static_cast<DataType>(arguments.type),
            .root = arguments.root,
            .count = arguments.count,
            .input = static_cast<const std::byte*>(arguments.input),
            .output = static_cast<std::byte*>(arguments.output)};
  if (is_reduction(call.collective)) {
    RAILCCL_TRY(resolve_operator(*arguments.comm, arguments.op, arguments.function, call));
  }
  if (is_rooted(call.collective)) {
    RAILCCL_TRY(check_rank(arguments.root, core->ranks(), "root", arguments.function));
  }
  RAILCCL_TRY(check_buffers(call, arguments, *core));
  if (call.count == 0) return core->error();
  const Buffers buffers(call, *core);
  RAILCCL_ASSIGN(const bool for_device,
                 is_for_device(buffers.all(), arguments.stream, arguments.function));
  if (for_device) {
    RAILCCL_ASSIGN(const auto calls,
                   device_calls_of(*arguments.comm, core, which_gpu(buffers.all())));
    return enqueue(core, call, {.device = calls, .of_device = arguments.stream});
  }
  RAILCCL_TRY(check_scalar_for_host(call, arguments.function));
  RAILCCL_ASSIGN(HostStream* const stream, HostStream::from(arguments.stream, arguments.function));
  return enqueue(core, call, {.host = stream, .after = device_calls_so_far(*arguments.comm)});
}

struct TransferArguments {
  std::string_view function;
  bool is_send = false;
  void* buffer = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  int peer = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
};

Status call_transfer(const TransferArguments& arguments) {
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> core,
                 core_of(arguments.comm, arguments.function));
  RAILCCL_TRY(check_type(arguments.type, arguments.function));
  RAILCCL_TRY(check_rank(arguments.peer, core->ranks(), "peer", arguments.function));
  const std::string_view name = arguments.is_send ? "sendbuff" : "recvbuff";
  if (arguments.buffer == nullptr && arguments.count > 0) {
    return error(Code::kInvalidArgument, "argument {} of {} is NULL", name, arguments.function);
  }
  if (arguments.count > uint64_t{1} << 58) {
    return error(Code::kInvalidArgument, "argument count of {} is {}, more than memory can hold",
                 arguments.function, arguments.count);
  }
  const P2pTransfer transfer{.is_send = arguments.is_send,
                             .peer = arguments.peer,
                             .buffer = static_cast<std::byte*>(arguments.buffer),
                             .count = arguments.count,
                             .type = static_cast<DataType>(arguments.type)};
  const BufferArgument buffer{
      .address = arguments.buffer, .name = name, .element = element_bytes(transfer.type)};
  // Of no elements: only the stream says.
  const std::span<const BufferArgument> buffers(&buffer, arguments.count > 0 ? 1 : 0);
  RAILCCL_ASSIGN(const bool for_device,
                 is_for_device(buffers, arguments.stream, arguments.function));
  if (for_device) {
    RAILCCL_ASSIGN(const auto calls, device_calls_of(*arguments.comm, core, arguments.buffer));
    return enqueue(core, transfer, {.device = calls, .of_device = arguments.stream});
  }
  RAILCCL_ASSIGN(HostStream* const stream, HostStream::from(arguments.stream, arguments.function));
  return enqueue(core, transfer, {.host = stream, .after = device_calls_so_far(*arguments.comm)});
}

}  // namespace
}  // namespace railccl

using railccl::answer;
using railccl::call_collective;
using railccl::call_transfer;
using railccl::Collective;

RAILCCL_API(ncclResult_t, AllReduce,
            (const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
             ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclAllReduce",
                                 .collective = Collective::kAllReduce,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = count,
                                 .type = datatype,
                                 .op = op,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, Reduce,
            (const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
             ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclReduce",
                                 .collective = Collective::kReduce,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = count,
                                 .type = datatype,
                                 .op = op,
                                 .root = root,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, ReduceScatter,
            (const void* sendbuff, void* recvbuff, size_t recvcount, ncclDataType_t datatype,
             ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclReduceScatter",
                                 .collective = Collective::kReduceScatter,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = recvcount,
                                 .type = datatype,
                                 .op = op,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, AllGather,
            (const void* sendbuff, void* recvbuff, size_t sendcount, ncclDataType_t datatype,
             ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclAllGather",
                                 .collective = Collective::kAllGather,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = sendcount,
                                 .type = datatype,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, Broadcast,
            (const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, int root,
             ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclBroadcast",
                                 .collective = Collective::kBroadcast,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = count,
                                 .type = datatype,
                                 .root = root,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, Bcast,
            (void* buff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm,
             cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclBcast",
                                 .collective = Collective::kBroadcast,
                                 .input = buff,
                                 .output = buff,
                                 .count = count,
                                 .type = datatype,
                                 .root = root,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, AlltoAll,
            (const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
             ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclAlltoAll",
                                 .collective = Collective::kAllToAll,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = count,
                                 .type = datatype,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, Gather,
            (const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, int root,
             ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclGather",
                                 .collective = Collective::kGather,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = count,
                                 .type = datatype,
                                 .root = root,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, Scatter,
            (const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, int root,
             ncclComm_t comm, cudaStream_t stream)) {
  return answer(call_collective({.function = "ncclScatter",
                                 .collective = Collective::kScatter,
                                 .input = sendbuff,
                                 .output = recvbuff,
                                 .count = count,
                                 .type = datatype,
                                 .root = root,
                                 .comm = comm,
                                 .stream = stream}));
}

RAILCCL_API(ncclResult_t, Send,
            (const void* sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
             cudaStream_t stream)) {
  return answer(call_transfer({.function = "ncclSend",
                               .is_send = true,
                               .buffer = const_cast<void*>(sendbuff),
                               .count = count,
                               .type = datatype,
                               .peer = peer,
                               .comm = comm,
                               .stream = stream}));
}

RAILCCL_API(ncclResult_t, Recv,
            (void* recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
             cudaStream_t stream)) {
  return answer(call_transfer({.function = "ncclRecv",
                               .is_send = false,
                               .buffer = recvbuff,
                               .count = count,
                               .type = datatype,
                               .peer = peer,
                               .comm = comm,
                               .stream = stream}));
}
