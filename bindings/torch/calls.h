// From tensors and c10d options to the library's arguments; errors name the tensor and what is
// allowed.
#pragma once

#include <ATen/ATen.h>
#include <railccl/nccl.h>

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

// `tensor` itself if its memory is contiguous, else a contiguous copy to work on.
at::Tensor contiguous(const at::Tensor& tensor);

}  // namespace railccl_torch
