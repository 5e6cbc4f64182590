// RailcclBackend: the collectives of c10d, send and recv (see backend.h).
#include <algorithm>
#include <utility>

#include "backend.h"
#include "calls.h"

namespace railccl_torch {
namespace {

at::Tensor& only(std::vector<at::Tensor>& tensors, const char* what) {
  TORCH_CHECK(tensors.size() == 1, "railccl: ", what, " takes one tensor per rank, got ",
              tensors.size());
  return tensors[0];
}

}  // namespace

RailcclBackend::WorkPtr RailcclBackend::broadcast(Tensors& tensors,
                                                  const c10d::BroadcastOptions& options) {
  at::Tensor& tensor = only(tensors, "broadcast");
  const Target target = target_of(tensor);
  const Buffer buffer = bytes_of(target.memory, "the tensor of broadcast");
  const int root = static_cast<int>(options.rootRank);
  return start({.type = c10d::OpType::BROADCAST,
                .timeout = options.timeout,
                .outputs = {tensor},
                .keep = {target.memory},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclBcast(buffer.data, buffer.count, buffer.type, root, comm_, stream),
                            "broadcast");
                    },
                .finish = target.finish});
}

RailcclBackend::WorkPtr RailcclBackend::allreduce(Tensors& tensors,
                                                  const c10d::AllreduceOptions& options) {
  at::Tensor& tensor = only(tensors, "allreduce");
  const Target target = target_of(tensor);
  const Buffer buffer = buffer_of(target.memory, "the tensor of allreduce");
  const auto op = std::make_shared<Operator>(options.reduceOp, tensor, comm_);
  return start({.type = c10d::OpType::ALLREDUCE,
                .timeout = options.timeout,
                .outputs = {tensor},
                .keep = {target.memory},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclAllReduce(buffer.data, buffer.data, buffer.count, buffer.type,
                                          op->get(), comm_, stream),
                            "allreduce");
                    },
                .finish = target.finish});
}

RailcclBackend::WorkPtr RailcclBackend::allreduce_coalesced(
    Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) {
  return together([&] {
    for (at::Tensor& tensor : tensors) {
      Tensors one = {tensor};
      allreduce(one, options);
    }
  });
}

RailcclBackend::WorkPtr RailcclBackend::reduce(Tensors& tensors,
                                               const c10d::ReduceOptions& options) {
  at::Tensor& tensor = only(tensors, "reduce");
  const Target target = target_of(tensor);
  const Buffer buffer = buffer_of(target.memory, "the tensor of reduce");
  const auto op = std::make_shared<Operator>(options.reduceOp, tensor, comm_);
  const int root = static_cast<int>(options.rootRank);
  return start({.type = c10d::OpType::REDUCE,
                .timeout = options.timeout,
                .outputs = {tensor},
                .keep = {target.memory},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclReduce(buffer.data, buffer.data, buffer.count, buffer.type,
                                       op->get(), root, comm_, stream),
                            "reduce");
                    },
                .finish = target.finish});
}

RailcclBackend::WorkPtr RailcclBackend::start_allgather(Job job, const at::Tensor& memory,
                                                        const at::Tensor& input) {
  const at::Tensor source = input.contiguous();
  const Buffer in = bytes_of(source, "the input of all_gather");
  const Buffer out = bytes_of(memory, "the output of all_gather");
  job.keep = {source, memory};
  job.begin = [=, this](railcclStream_t stream) {
    check(ncclAllGather(in.data, out.data, in.count, in.type, comm_, stream), "all_gather");
  };
  return start(std::move(job));
}

RailcclBackend::WorkPtr RailcclBackend::_allgather_base(at::Tensor& output, at::Tensor& input,
                                                        const c10d::AllgatherOptions& options) {
  TORCH_CHECK(output.nbytes() == input.nbytes() * static_cast<size_t>(size_),
              "railccl: the output of all_gather must be world size times the input");
  const Target target = target_of(output);
  return start_allgather({.type = c10d::OpType::_ALLGATHER_BASE,
                          .timeout = options.timeout,
                          .outputs = {output},
                          .finish = target.finish},
                         target.memory, input);
}

RailcclBackend::WorkPtr RailcclBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                                  const c10d::AllgatherOptions& options) {
  at::Tensor& input = only(inputs, "all_gather");
  TORCH_CHECK(outputs.size() == 1 && static_cast<int>(outputs[0].size()) == size_,
              "railccl: all_gather takes one output per rank");
  const bool unequal =
      std::any_of(outputs[0].begin(), outputs[0].end(),
                  [&](const at::Tensor& output) { return output.numel() != input.numel(); });
  if (unequal) return allgather_unequal(outputs[0], input, options);
  const at::Tensor flat = flat_like(outputs[0], "all_gather");
  return start_allgather(
      {.type = c10d::OpType::ALLGATHER,
       .timeout = options.timeout,
       .outputs = outputs[0],
       .finish = [flat, parts = outputs[0]]() mutable { copy_out(flat, parts); }},
      flat, input);
}

// Outputs of different sizes: one broadcast from each rank.
RailcclBackend::WorkPtr RailcclBackend::allgather_unequal(Tensors& outputs, at::Tensor& input,
                                                          const c10d::AllgatherOptions& options) {
  TORCH_CHECK(outputs[static_cast<size_t>(rank_)].numel() == input.numel(),
              "railccl: this rank's output of all_gather has another size than its input");
  outputs[static_cast<size_t>(rank_)].copy_(input);
  return together([&] {
    for (int root = 0; root < size_; ++root) {
      Tensors one = {outputs[static_cast<size_t>(root)]};
      c10d::BroadcastOptions from;
      from.rootRank = root;
      from.timeout = options.timeout;
      broadcast(one, from);
    }
  });
}

RailcclBackend::WorkPtr RailcclBackend::allgather_coalesced(std::vector<Tensors>& outputs,
                                                            Tensors& inputs,
                                                            const c10d::AllgatherOptions& options) {
  return together([&] {
    for (size_t i = 0; i < inputs.size(); ++i) {
      // outputs[rank][i] is rank's i-th tensor.
      Tensors parts;
      for (Tensors& of_rank : outputs) parts.push_back(of_rank.at(i));
      std::vector<Tensors> one_output = {parts};
      Tensors one_input = {inputs[i]};
      allgather(one_output, one_input, options);
    }
  });
}

RailcclBackend::WorkPtr RailcclBackend::allgather_into_tensor_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) {
  TORCH_CHECK(outputs.size() == inputs.size(), "railccl: as many outputs as inputs are needed");
  return together([&] {
    for (size_t i = 0; i < inputs.size(); ++i) _allgather_base(outputs[i], inputs[i], options);
  });
}

RailcclBackend::WorkPtr RailcclBackend::gather(std::vector<Tensors>& outputs, Tensors& inputs,
                                               const c10d::GatherOptions& options) {
  at::Tensor& input = only(inputs, "gather");
  const int root = static_cast<int>(options.rootRank);
  const at::Tensor source = input.contiguous();
  const Buffer in = bytes_of(source, "the input of gather");
  at::Tensor flat;
  Tensors parts;
  if (rank_ == root) {
    TORCH_CHECK(outputs.size() == 1 && static_cast<int>(outputs[0].size()) == size_,
                "railccl: gather takes one output per rank on its root");
    flat = flat_like(outputs[0], "gather");
    parts = outputs[0];
  }
  void* const out = flat.defined() ? flat.data_ptr() : nullptr;
  return start({.type = c10d::OpType::GATHER,
                .timeout = options.timeout,
                .outputs = parts,
                .keep = {source, flat},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclGather(in.data, out, in.count, in.type, root, comm_, stream),
                            "gather");
                    },
                .finish =
                    [flat, parts]() mutable {
                      if (flat.defined()) copy_out(flat, parts);
                    }});
}

RailcclBackend::WorkPtr RailcclBackend::scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                                const c10d::ScatterOptions& options) {
  at::Tensor& output = only(outputs, "scatter");
  const int root = static_cast<int>(options.rootRank);
  const Target target = target_of(output);
  const Buffer out = bytes_of(target.memory, "the output of scatter");
  at::Tensor flat;
  if (rank_ == root) {
    TORCH_CHECK(inputs.size() == 1 && static_cast<int>(inputs[0].size()) == size_,
                "railccl: scatter takes one input per rank on its root");
    flat = flatten(inputs[0], "scatter");
  }
  const void* const in = flat.defined() ? flat.data_ptr() : nullptr;
  return start({.type = c10d::OpType::SCATTER,
                .timeout = options.timeout,
                .outputs = {output},
                .keep = {flat, target.memory},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclScatter(in, out.data, out.count, out.type, root, comm_, stream),
                            "scatter");
                    },
                .finish = target.finish});
}

RailcclBackend::WorkPtr RailcclBackend::_reduce_scatter_base(
    at::Tensor& output, at::Tensor& input, const c10d::ReduceScatterOptions& options) {
  TORCH_CHECK(input.numel() == output.numel() * size_,
              "railccl: the input of reduce_scatter must be world size times the output");
  const Target target = target_of(output);
  const at::Tensor source = input.contiguous();
  const Buffer in = buffer_of(source, "the input of reduce_scatter");
  const Buffer out = buffer_of(target.memory, "the output of reduce_scatter");
  TORCH_CHECK(in.type == out.type, "railccl: input and output of reduce_scatter differ in type");
  const auto op = std::make_shared<Operator>(options.reduceOp, output, comm_);
  return start({.type = c10d::OpType::_REDUCE_SCATTER_BASE,
                .timeout = options.timeout,
                .outputs = {output},
                .keep = {source, target.memory},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclReduceScatter(in.data, out.data, out.count, out.type, op->get(),
                                              comm_, stream),
                            "reduce_scatter");
                    },
                .finish = target.finish});
}

RailcclBackend::WorkPtr RailcclBackend::reduce_scatter(Tensors& outputs,
                                                       std::vector<Tensors>& inputs,
                                                       const c10d::ReduceScatterOptions& options) {
  at::Tensor& output = only(outputs, "reduce_scatter");
  TORCH_CHECK(inputs.size() == 1 && static_cast<int>(inputs[0].size()) == size_,
              "railccl: reduce_scatter takes one input per rank");
  at::Tensor flat = flatten(inputs[0], "reduce_scatter");
  return _reduce_scatter_base(output, flat, options);
}

RailcclBackend::WorkPtr RailcclBackend::reduce_scatter_tensor_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& options) {
  TORCH_CHECK(outputs.size() == inputs.size(), "railccl: as many outputs as inputs are needed");
  return together([&] {
    for (size_t i = 0; i < inputs.size(); ++i) _reduce_scatter_base(outputs[i], inputs[i], options);
  });
}

RailcclBackend::WorkPtr RailcclBackend::exchange(c10d::OpType type, Parts outputs, Parts inputs,
                                                 Tensors result, Tensors keep,
                                                 std::chrono::milliseconds timeout,
                                                 std::function<void()> finish) {
  return start({.type = type,
                .timeout = timeout,
                .outputs = std::move(result),
                .keep = std::move(keep),
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclGroupStart(), "all_to_all");
                      for (int peer = 0; peer < size_; ++peer) {
                        const auto [in, in_bytes] = inputs[static_cast<size_t>(peer)];
                        const auto [out, out_bytes] = outputs[static_cast<size_t>(peer)];
                        check(ncclSend(in, in_bytes, ncclUint8, peer, comm_, stream), "all_to_all");
                        check(ncclRecv(out, out_bytes, ncclUint8, peer, comm_, stream),
                              "all_to_all");
                      }
                      check(ncclGroupEnd(), "all_to_all");
                    },
                .finish = std::move(finish)});
}

RailcclBackend::WorkPtr RailcclBackend::alltoall_base(at::Tensor& output, at::Tensor& input,
                                                      std::vector<int64_t>& output_splits,
                                                      std::vector<int64_t>& input_splits,
                                                      const c10d::AllToAllOptions& options) {
  c10d::checkSplitSizes(input_splits, input, size_);
  c10d::checkSplitSizes(output_splits, output, size_);
  const Target target = target_of(output);
  const at::Tensor source = input.contiguous();
  if (input_splits.empty() && output_splits.empty()) {
    const Buffer in = bytes_of(source, "the input of all_to_all");
    const Buffer out = bytes_of(target.memory, "the output of all_to_all");
    return start({.type = c10d::OpType::ALLTOALL_BASE,
                  .timeout = options.timeout,
                  .outputs = {output},
                  .keep = {source, target.memory},
                  .begin =
                      [=, this](railcclStream_t stream) {
                        check(ncclAlltoAll(in.data, out.data, in.count / static_cast<size_t>(size_),
                                           ncclUint8, comm_, stream),
                              "all_to_all");
                      },
                  .finish = target.finish});
  }
  return exchange(c10d::OpType::ALLTOALL_BASE, split(target.memory, output_splits),
                  split(source, input_splits), {output}, {source, target.memory}, options.timeout,
                  target.finish);
}

// Consecutive parts of a tensor, by rows; no splits: equal parts.
RailcclBackend::Parts RailcclBackend::split(const at::Tensor& tensor,
                                            const std::vector<int64_t>& splits) const {
  Parts parts;
  auto* data = static_cast<std::byte*>(tensor.data_ptr());
  const int64_t rows = tensor.dim() > 0 ? tensor.size(0) : 1;
  const size_t row_bytes = rows > 0 ? tensor.nbytes() / static_cast<size_t>(rows) : 0;
  for (int peer = 0; peer < size_; ++peer) {
    const int64_t count = splits.empty() ? rows / size_ : splits[static_cast<size_t>(peer)];
    const size_t bytes = static_cast<size_t>(count) * row_bytes;
    parts.emplace_back(data, bytes);
    data += bytes;
  }
  return parts;
}

RailcclBackend::WorkPtr RailcclBackend::alltoall(Tensors& outputs, Tensors& inputs,
                                                 const c10d::AllToAllOptions& options) {
  TORCH_CHECK(static_cast<int>(outputs.size()) == size_ && static_cast<int>(inputs.size()) == size_,
              "railccl: all_to_all takes one input and one output per rank");
  Parts in;
  Parts out;
  Tensors keep;
  std::vector<std::function<void()>> finishes;
  for (size_t peer = 0; peer < inputs.size(); ++peer) {
    keep.push_back(inputs[peer].contiguous());
    in.emplace_back(keep.back().data_ptr(), keep.back().nbytes());
    const Target target = target_of(outputs[peer]);
    keep.push_back(target.memory);
    out.emplace_back(target.memory.data_ptr(), target.memory.nbytes());
    if (target.finish) finishes.push_back(target.finish);
  }
  return exchange(c10d::OpType::ALLTOALL, std::move(out), std::move(in), outputs, std::move(keep),
                  options.timeout, [finishes] {
                    for (const auto& finish : finishes) finish();
                  });
}

RailcclBackend::WorkPtr RailcclBackend::send(Tensors& tensors, int peer, int /*tag*/) {
  const at::Tensor source = only(tensors, "send").contiguous();
  const Buffer in = bytes_of(source, "the tensor of send");
  return start(
      {.type = c10d::OpType::SEND, .keep = {source}, .begin = [=, this](railcclStream_t stream) {
         check(ncclSend(in.data, in.count, in.type, peer, comm_, stream), "send");
       }});
}

RailcclBackend::WorkPtr RailcclBackend::recv(Tensors& tensors, int peer, int /*tag*/) {
  at::Tensor& tensor = only(tensors, "recv");
  const Target target = target_of(tensor);
  const Buffer out = bytes_of(target.memory, "the tensor of recv");
  return start({.type = c10d::OpType::RECV,
                .outputs = {tensor},
                .keep = {target.memory},
                .begin =
                    [=, this](railcclStream_t stream) {
                      check(ncclRecv(out.data, out.count, out.type, peer, comm_, stream), "recv");
                    },
                .finish = target.finish});
}

RailcclBackend::WorkPtr RailcclBackend::barrier(const c10d::BarrierOptions& options) {
  Tensors token = {at::zeros({1}, at::kInt)};
  c10d::AllreduceOptions all;
  all.timeout = options.timeout;
  return allreduce(token, all);
}

}  // namespace railccl_torch
