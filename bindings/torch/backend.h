// The process group: one RailCCL communicator, made from the store, and c10d's collectives on it.
// Operations begin in the order of the calls; each has a Work of its own.
#pragma once

#include <railccl/railccl.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "work.h"

namespace railccl_torch {

class RailcclBackend : public c10d::Backend {
 public:
  RailcclBackend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                 std::chrono::milliseconds timeout);
  ~RailcclBackend() override;

  const std::string getBackendName() const override { return "railccl"; }
  void setTimeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }
  bool supportsCoalescing() const override { return true; }
  void startCoalescing() override;
  c10::intrusive_ptr<c10d::Work> endCoalescing() override;
  void setSequenceNumberForGroup() override {}
  uint64_t getSequenceNumberForGroup() override { return sequence_; }
  void abort() override;
  void shutdown() override;

  using Tensors = std::vector<at::Tensor>;
  using WorkPtr = c10::intrusive_ptr<c10d::Work>;

  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr allreduce_coalesced(Tensors& tensors,
                              const c10d::AllreduceCoalescedOptions& options) override;
  WorkPtr reduce(Tensors& tensors, const c10d::ReduceOptions& options) override;
  WorkPtr allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                    const c10d::AllgatherOptions& options) override;
  WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input,
                          const c10d::AllgatherOptions& options) override;
  WorkPtr allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                              const c10d::AllgatherOptions& options) override;
  WorkPtr allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                          const c10d::AllgatherOptions& options) override;
  WorkPtr gather(std::vector<Tensors>& outputs, Tensors& inputs,
                 const c10d::GatherOptions& options) override;
  WorkPtr scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                  const c10d::ScatterOptions& options) override;
  WorkPtr reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                         const c10d::ReduceScatterOptions& options) override;
  WorkPtr _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                               const c10d::ReduceScatterOptions& options) override;
  WorkPtr reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                          const c10d::ReduceScatterOptions& options) override;
  WorkPtr alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                        std::vector<int64_t>& input_splits,
                        const c10d::AllToAllOptions& options) override;
  WorkPtr alltoall(Tensors& outputs, Tensors& inputs,
                   const c10d::AllToAllOptions& options) override;
  WorkPtr send(Tensors& tensors, int peer, int tag) override;
  WorkPtr recv(Tensors& tensors, int peer, int tag) override;
  WorkPtr barrier(const c10d::BarrierOptions& options) override;

 private:
  struct Job {
    c10d::OpType type = c10d::OpType::UNKNOWN;
    std::chrono::milliseconds timeout = c10d::kUnsetTimeout;
    Tensors outputs;
    Tensors keep;
    std::function<void(railcclStream_t)> begin;
    std::function<void()> finish;
  };
  // Memory of each rank's part: address, bytes.
  using Parts = std::vector<std::pair<void*, size_t>>;

  WorkPtr start(Job job);
  WorkPtr together(const std::function<void()>& issue);
  // A job that gathers `input` of every rank in `memory`; begin and keep are filled in.
  WorkPtr start_allgather(Job job, const at::Tensor& memory, const at::Tensor& input);
  WorkPtr allgather_unequal(Tensors& outputs, at::Tensor& input,
                            const c10d::AllgatherOptions& options);
  WorkPtr exchange(c10d::OpType type, Parts outputs, Parts inputs, Tensors result, Tensors keep,
                   std::chrono::milliseconds timeout, std::function<void()> finish);
  Parts split(const at::Tensor& tensor, const std::vector<int64_t>& splits) const;
  void check_alive() const;
  template <typename How>
  void end(std::unique_lock<std::mutex>& lock, const How& how);

  // Another thread may end the group while one begins an operation, or ends it, too: who comes
  // second waits for the first.
  std::mutex comm_mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  ncclComm_t comm_ = nullptr;  // null from the moment on when nobody else may use it
  std::chrono::milliseconds timeout_;
  uint64_t sequence_ = 0;
  std::shared_ptr<Completer> completer_;
  bool coalescing_ = false;
  std::vector<Job> coalesced_;
};

}  // namespace railccl_torch
