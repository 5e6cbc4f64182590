// From tensors and c10d options to the library's arguments, and from its results back to tensors;
// errors name the tensor and what is allowed.
#pragma once

#include <ATen/ATen.h>
#include <railccl/nccl.h>

#include <functional>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <vector>

namespace railccl_torch {

// A tensor as the library takes it.
struct Buffer {
  void* data = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
};

// Dense CPU tensor, contiguous memory; complex counts twice, bool as bytes.
Buffer buffer_of(const at::Tensor& tensor, const char* what);
// For moving only: any type, as bytes where the library has no such type.
Buffer bytes_of(const at::Tensor& tensor, const char* what);

// An operator of c10d; PREMUL_SUM makes one on the communicator.
class Operator {
 public:
  Operator(const c10d::ReduceOp& op, const at::Tensor& sample, ncclComm_t comm);
  ~Operator();
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;
  ncclRedOp_t get() const { return op_; }

 private:
  ncclRedOp_t op_ = ncclSum;
  ncclComm_t made_on_ = nullptr;
};

// Where results go when the tensor's memory has gaps: a copy that is written back at the end.
struct Target {
  at::Tensor memory;
  std::function<void()> finish;
};
Target target_of(at::Tensor tensor);

// One tensor with room for all of `parts`, which must have one size.
at::Tensor flat_like(const std::vector<at::Tensor>& parts, const char* what);
// The same, with their elements.
at::Tensor flatten(const std::vector<at::Tensor>& parts, const char* what);
void copy_out(const at::Tensor& flat, std::vector<at::Tensor>& parts);

}  // namespace railccl_torch
