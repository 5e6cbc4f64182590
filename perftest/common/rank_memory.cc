#include "perftest/common/rank_memory.h"

#include <cstring>
#include <thread>

namespace railccl::perftest {
namespace {

Outcome<std::variant<Stream, GpuStream>> make_stream(const RankMemory::Wanted& wanted) {
  if (wanted.gpus == nullptr) {
    auto stream = Stream::create(wanted.own_stream);
    if (!stream) return tl::unexpected(stream.error());
    return std::move(*stream);
  }
  auto stream = GpuStream::create(wanted.gpus->driver(), wanted.own_stream);
  if (!stream) return tl::unexpected(stream.error());
  return std::move(*stream);
}

Outcome<void> check_communicator(ncclComm_t comm) {
  ncclResult_t state = ncclSuccess;
  PERFTEST_TRY(check("ncclCommGetAsyncError", ncclCommGetAsyncError(comm, &state), comm));
  return check("the communicator", state, comm);
}

}  // namespace

Outcome<RankMemory> RankMemory::create(const Wanted& wanted) {
  auto send = Memory::allocate(wanted.bytes);
  if (!send) return tl::unexpected(send.error());
  auto recv = Memory::allocate(wanted.bytes);
  if (!recv) return tl::unexpected(recv.error());
  auto stream = make_stream(wanted);
  if (!stream) return tl::unexpected(stream.error());
  RankMemory memory(std::move(*send), std::move(*recv), std::move(*stream));
  for (const Memory* const buffer : {&memory.send_, &memory.recv_}) {
    if (const GpuStream* const gpu = memory.gpu()) {
      PERFTEST_TRY(gpu->clear(buffer->data(), buffer->bytes()));
    } else {
      std::memset(buffer->data(), 0, buffer->bytes());
    }
  }
  return memory;
}

cudaStream_t RankMemory::stream() const {
  if (const GpuStream* const stream = gpu()) return static_cast<cudaStream_t>(stream->get());
  return std::get<Stream>(stream_).get();
}

// A stream of a GPU knows nothing of the communicator's errors, which end its kernels early.
Outcome<void> RankMemory::wait(ncclComm_t comm) const {
  const GpuStream* const stream = gpu();
  if (stream == nullptr) return std::get<Stream>(stream_).wait();
  while (true) {
    const auto done = stream->is_done();
    if (!done) return tl::unexpected(done.error());
    PERFTEST_TRY(check_communicator(comm));
    if (*done) return {};
    std::this_thread::yield();
  }
}

Outcome<void> RankMemory::prepare(const CheckedOperation& operation, const Buffers& at) {
  const GpuStream* const stream = gpu();
  if (stream == nullptr) {
    operation.prepare(at);
    return {};
  }
  send_copy_.resize(operation.send_bytes());
  recv_copy_.resize(operation.recv_bytes());
  operation.prepare({send_copy_.data(), recv_copy_.data()});
  PERFTEST_TRY(stream->copy_to_device(at.send, send_copy_.data(), send_copy_.size()));
  return stream->copy_to_device(at.recv, recv_copy_.data(), recv_copy_.size());
}

Outcome<uint64_t> RankMemory::count_wrong(const CheckedOperation& operation, const Buffers& at) {
  const GpuStream* const stream = gpu();
  if (stream == nullptr) return operation.count_wrong(at);
  recv_copy_.resize(operation.recv_bytes());
  PERFTEST_TRY(stream->copy_to_host(recv_copy_.data(), at.recv, recv_copy_.size()));
  return operation.count_wrong({send_copy_.data(), recv_copy_.data()});
}

}  // namespace railccl::perftest
