// A rank's two buffers and the stream that its operations go into: on the host, or on a GPU, where
// data is made and checked in a copy on the host. The rank's thread only.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "perftest/common/gpu.h"
#include "perftest/common/library.h"
#include "perftest/common/verify.h"

namespace railccl::perftest {

class RankMemory {
 public:
  struct Wanted {
    size_t bytes = 0;  // of each buffer
    bool own_stream = false;
    const Gpus* gpus = nullptr;  // null: memory of the host
  };
  // Both buffers are 0. On a GPU: the one that this thread has chosen.
  static Outcome<RankMemory> create(const Wanted& wanted);

  const Memory& send() const { return send_; }
  const Memory& recv() const { return recv_; }
  Buffers buffers() const { return {send_.data(), recv_.data()}; }
  cudaStream_t stream() const;
  // Null: memory of the host.
  const GpuStream* gpu() const { return std::get_if<GpuStream>(&stream_); }

  // Until the stream has done all that was put into it, or `comm` has failed.
  Outcome<void> wait(ncclComm_t comm) const;
  // What the operation does (verify.h), in buffers that begin at `at` within these.
  Outcome<void> prepare(const CheckedOperation& operation, const Buffers& at);
  Outcome<uint64_t> count_wrong(const CheckedOperation& operation, const Buffers& at);

 private:
  RankMemory(Memory send, Memory recv, std::variant<Stream, GpuStream> stream)
      : send_(std::move(send)), recv_(std::move(recv)), stream_(std::move(stream)) {}

  Memory send_;
  Memory recv_;
  std::variant<Stream, GpuStream> stream_;
  std::vector<std::byte> send_copy_;  // of memory of a GPU
  std::vector<std::byte> recv_copy_;
};

}  // namespace railccl::perftest
