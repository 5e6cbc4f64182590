#include "calls.h"

#include "work.h"

namespace railccl_torch {
namespace {

std::optional<ncclDataType_t> type_of(at::ScalarType type) {
  switch (type) {
    case at::kChar:
      return ncclInt8;
    case at::kByte:
    case at::kBool:
      return ncclUint8;
    case at::kInt:
      return ncclInt32;
    case at::kLong:
      return ncclInt64;
    case at::kHalf:
      return ncclFloat16;
    case at::kFloat:
    case at::kComplexFloat:
      return ncclFloat32;
    case at::kDouble:
    case at::kComplexDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kFloat8_e4m3fn:
      return ncclFloat8e4m3;
    case at::kFloat8_e5m2:
      return ncclFloat8e5m2;
    case at::kUInt32:
      return ncclUint32;
    case at::kUInt64:
      return ncclUint64;
    default:
      return std::nullopt;
  }
}

void check_tensor(const at::Tensor& tensor, const char* what) {
  TORCH_CHECK(tensor.device().is_cpu(), "railccl: ", what, " is on ", tensor.device(),
              "; this backend takes CPU tensors");
  TORCH_CHECK(tensor.layout() == at::kStrided, "railccl: ", what, " is not a dense tensor");
}

template <typename T>
ncclRedOp_t make_premul(const c10d::ReduceOp& op, ncclDataType_t type, ncclComm_t comm) {
  const auto* supplement =
      reinterpret_cast<const c10d::NCCLPreMulSumSupplement*>(op.supplement_.get());
  TORCH_CHECK(supplement != nullptr, "railccl: PREMUL_SUM without a factor");
  T scalar = supplement->tensor_factor.defined() ? supplement->tensor_factor.item<T>()
                                                 : static_cast<T>(supplement->double_factor);
  ncclRedOp_t made;
  check(ncclRedOpCreatePreMulSum(&made, &scalar, type, ncclScalarHostImmediate, comm),
        "PREMUL_SUM");
  return made;
}

ncclRedOp_t make_premul(const c10d::ReduceOp& op, const at::Tensor& sample, ncclComm_t comm) {
  switch (sample.scalar_type()) {
    case at::kFloat:
      return make_premul<float>(op, ncclFloat32, comm);
    case at::kDouble:
      return make_premul<double>(op, ncclFloat64, comm);
    case at::kHalf:
      return make_premul<at::Half>(op, ncclFloat16, comm);
    case at::kBFloat16:
      return make_premul<at::BFloat16>(op, ncclBfloat16, comm);
    default:
      TORCH_CHECK(false, "railccl: PREMUL_SUM takes half, bfloat16, float and double tensors");
  }
}

// `tensor` itself if its memory is contiguous, else a contiguous copy to work on.
at::Tensor contiguous(const at::Tensor& tensor) {
  return tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous();
}

}  // namespace

Buffer buffer_of(const at::Tensor& tensor, const char* what) {
  check_tensor(tensor, what);
  const auto type = type_of(tensor.scalar_type());
  TORCH_CHECK(
      type.has_value(), "railccl: ", what, " has type ", tensor.scalar_type(),
      ", which cannot be reduced; int8, uint8, bool, (u)int32, (u)int64, half, bfloat16, float, "
      "double, complex and the two float8 types can");
  const size_t factor = tensor.is_complex() ? 2 : 1;
  return {.data = tensor.data_ptr(),
          .count = static_cast<size_t>(tensor.numel()) * factor,
          .type = *type};
}

Buffer bytes_of(const at::Tensor& tensor, const char* what) {
  check_tensor(tensor, what);
  return {.data = tensor.data_ptr(), .count = tensor.nbytes(), .type = ncclUint8};
}

Operator::Operator(const c10d::ReduceOp& op, const at::Tensor& sample, ncclComm_t comm) {
  const bool is_complex = sample.is_complex();
  const bool is_bool = sample.scalar_type() == at::kBool;
  switch (op.op_) {
    // Bytes of a bool are 0 or 1: "or" is their maximum, "and" their minimum.
    case c10d::ReduceOp::SUM:
      op_ = is_bool ? ncclMax : ncclSum;
      break;
    case c10d::ReduceOp::AVG:
      TORCH_CHECK(!is_bool, "railccl: AVG of bool tensors is not defined");
      op_ = ncclAvg;
      break;
    case c10d::ReduceOp::PRODUCT:
      op_ = is_bool ? ncclMin : ncclProd;
      break;
    case c10d::ReduceOp::MIN:
      op_ = ncclMin;
      break;
    case c10d::ReduceOp::MAX:
      op_ = ncclMax;
      break;
    case c10d::ReduceOp::BAND:
    case c10d::ReduceOp::BOR:
      TORCH_CHECK(is_bool, "railccl: BAND and BOR work on bool tensors only");
      op_ = op.op_ == c10d::ReduceOp::BAND ? ncclMin : ncclMax;
      break;
    case c10d::ReduceOp::PREMUL_SUM:
      op_ = make_premul(op, sample, comm);
      made_on_ = comm;
      break;
    default:
      TORCH_CHECK(false, "railccl: BXOR is not supported");
  }
  TORCH_CHECK(!is_complex || op_ == ncclSum || op_ == ncclAvg,
              "railccl: complex tensors can be summed and averaged only");
}

Operator::~Operator() {
  if (made_on_ != nullptr) ncclRedOpDestroy(op_, made_on_);
}

Target target_of(at::Tensor tensor) {
  at::Tensor memory = contiguous(tensor);
  if (memory.is_same(tensor)) return {.memory = memory, .finish = nullptr};
  return {.memory = memory, .finish = [tensor, memory]() mutable { tensor.copy_(memory); }};
}

at::Tensor flat_like(const std::vector<at::Tensor>& parts, const char* what) {
  for (const at::Tensor& part : parts) {
    TORCH_CHECK(part.numel() == parts[0].numel() && part.scalar_type() == parts[0].scalar_type(),
                "railccl: ", what, " takes tensors of one size and type");
  }
  return at::empty({static_cast<int64_t>(parts.size()), parts[0].numel()}, parts[0].options());
}

void copy_out(const at::Tensor& flat, std::vector<at::Tensor>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].copy_(flat[static_cast<int64_t>(i)].view(parts[i].sizes()));
  }
}

at::Tensor flatten(const std::vector<at::Tensor>& parts, const char* what) {
  at::Tensor flat = flat_like(parts, what);
  for (size_t i = 0; i < parts.size(); ++i) {
    flat[static_cast<int64_t>(i)].copy_(parts[i].reshape({-1}));
  }
  return flat;
}

}  // namespace railccl_torch
