#include "src/api/operators.h"

#include <cstring>

#include "src/api/buffer.h"
#include "src/api/export.h"
#include "src/api/last_error.h"
#include "src/core/wiring.h"

namespace railccl {
namespace {

Result<ReduceOp> built_in(ncclRedOp_t op) {
  switch (op) {
    case ncclSum:
      return ReduceOp::kSum;
    case ncclProd:
      return ReduceOp::kProd;
    case ncclMax:
      return ReduceOp::kMax;
    case ncclMin:
      return ReduceOp::kMin;
    case ncclAvg:
      return ReduceOp::kAvg;
    default:
      return error(Code::kInvalidArgument, "not built in");
  }
}

Status create(ncclRedOp_t* op, const void* scalar, ncclDataType_t type,
              ncclScalarResidence_t residence, ncclComm_t comm) {
  constexpr std::string_view kFunction = "ncclRedOpCreatePreMulSum";
  RAILCCL_TRY(check_handle(comm, kFunction));
  if (op == nullptr) return error(Code::kInvalidArgument, "argument op of {} is NULL", kFunction);
  if (scalar == nullptr) {
    return error(Code::kInvalidArgument, "argument scalar of {} is NULL", kFunction);
  }
  if (static_cast<int>(type) < 0 || type >= ncclNumTypes) {
    return error(Code::kInvalidArgument,
                 "argument datatype of {} is {}, not a type of ncclDataType_t", kFunction,
                 static_cast<int>(type));
  }
  if (residence != ncclScalarDevice && residence != ncclScalarHostImmediate) {
    return error(Code::kInvalidArgument,
                 "argument residence of {} is {}, allowed are ncclScalarDevice ({}) and "
                 "ncclScalarHostImmediate ({})",
                 kFunction, static_cast<int>(residence), static_cast<int>(ncclScalarDevice),
                 static_cast<int>(ncclScalarHostImmediate));
  }
  ncclComm::PreMulSum made{.alive = true, .type = static_cast<DataType>(type), .scalar = {}};
  const bool for_device_only = is_device_memory(scalar);
  if (residence == ncclScalarDevice && place_of(scalar) != MemoryPlace::kHost) {
    made.on_device = static_cast<const std::byte*>(scalar);
  } else if (for_device_only) {
    return error(
        Code::kInvalidArgument,
        "argument scalar of {} is memory of a GPU, but residence is ncclScalarHostImmediate",
        kFunction);
  }
  // For calls on memory of the host, to which "device" memory is what it can read itself.
  if (!for_device_only) std::memcpy(made.scalar.data(), scalar, element_bytes(made.type));
  const MutexLock guard(comm->operators_mutex);
  size_t index = 0;
  while (index < comm->operators.size() && comm->operators[index].alive) ++index;
  if (index == comm->operators.size()) comm->operators.emplace_back();
  comm->operators[index] = made;
  *op = static_cast<ncclRedOp_t>(static_cast<int>(ncclNumOps) + static_cast<int>(index));
  return Status::ok();
}

Status destroy(ncclRedOp_t op, ncclComm_t comm) {
  constexpr std::string_view kFunction = "ncclRedOpDestroy";
  RAILCCL_TRY(check_handle(comm, kFunction));
  const int index = static_cast<int>(op) - static_cast<int>(ncclNumOps);
  const MutexLock guard(comm->operators_mutex);
  if (index < 0 || static_cast<size_t>(index) >= comm->operators.size() ||
      !comm->operators[static_cast<size_t>(index)].alive) {
    return error(Code::kInvalidArgument,
                 "argument op of {} is {}, not an operator that ncclRedOpCreatePreMulSum made "
                 "on this communicator",
                 kFunction, static_cast<int>(op));
  }
  comm->operators[static_cast<size_t>(index)].alive = false;
  return Status::ok();
}

}  // namespace

Status check_scalar_for_host(const Call& call, std::string_view function) {
  if (!is_device_memory(call.scalar_on_device)) return Status::ok();
  return error(
      Code::kInvalidArgument,
      "argument op of {} has its scalar in memory of a GPU, but the buffers are the host's",
      function);
}

Status resolve_operator(ncclComm& comm, ncclRedOp_t op, std::string_view function, Call& call) {
  if (const auto known = built_in(op)) {
    call.op = *known;
    return Status::ok();
  }
  const int index = static_cast<int>(op) - static_cast<int>(ncclNumOps);
  const MutexLock guard(comm.operators_mutex);
  if (index < 0 || static_cast<size_t>(index) >= comm.operators.size() ||
      !comm.operators[static_cast<size_t>(index)].alive) {
    return error(Code::kInvalidArgument,
                 "argument op of {} is {}, not an operator of this communicator", function,
                 static_cast<int>(op));
  }
  const ncclComm::PreMulSum& made = comm.operators[static_cast<size_t>(index)];
  if (made.type != call.type) {
    return error(Code::kInvalidArgument, "argument op of {} was made for {}, but datatype is {}",
                 function, data_type_name(made.type), data_type_name(call.type));
  }
  call.op = ReduceOp::kPreMulSum;
  call.scalar = made.scalar;
  call.scalar_on_device = made.on_device;
  return Status::ok();
}

}  // namespace railccl

RAILCCL_API(ncclResult_t, RedOpCreatePreMulSum,
            (ncclRedOp_t * op, void* scalar, ncclDataType_t datatype,
             ncclScalarResidence_t residence, ncclComm_t comm)) {
  return railccl::report(railccl::create(op, scalar, datatype, residence, comm));
}

RAILCCL_API(ncclResult_t, RedOpDestroy, (ncclRedOp_t op, ncclComm_t comm)) {
  return railccl::report(railccl::destroy(op, comm));
}
