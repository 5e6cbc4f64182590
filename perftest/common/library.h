// The handles of the C API as owners, and its errors as Failures. A handle belongs to one thread,
// but for what says otherwise.
#pragma once

#include <railccl/railccl.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "perftest/common/outcome.h"

namespace railccl::perftest {

// "ncclAllReduce: remote process error: rank 3 (host b) is gone", with Exit::kLibrary.
Failure library_failure(std::string_view call, ncclResult_t result, ncclComm_t comm);
Outcome<void> check(std::string_view call, ncclResult_t result, ncclComm_t comm = nullptr);

// Destroys its communicator, or aborts it where abandon() was called.
class Communicator {
 public:
  Communicator() = default;
  explicit Communicator(ncclComm_t comm) : comm_(comm) {}
  Communicator(Communicator&& other) noexcept
      : comm_(std::exchange(other.comm_, nullptr)), abandoned_(other.abandoned_) {}
  Communicator& operator=(Communicator&& other) noexcept;
  ~Communicator();

  ncclComm_t get() const { return comm_; }
  explicit operator bool() const { return comm_ != nullptr; }
  void abandon() { abandoned_ = true; }

 private:
  void release();
  ncclComm_t comm_ = nullptr;
  bool abandoned_ = false;
};

// NULL, or a railcclStream_t that it destroys.
class Stream {
 public:
  static Outcome<Stream> create(bool own_stream);
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&&) = delete;
  ~Stream();

  railcclStream_t get() const { return stream_; }
  Outcome<void> wait() const;

 private:
  explicit Stream(railcclStream_t stream) : stream_(stream) {}
  railcclStream_t stream_;
};

// ncclMemAlloc'ed bytes.
class Memory {
 public:
  static Outcome<Memory> allocate(size_t bytes);
  Memory(Memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Memory& operator=(Memory&&) = delete;
  ~Memory();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Memory(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_;
  size_t bytes_;
};

// A buffer registered with a communicator, as -R asks; outlived by both.
enum class Registration { kNone = 0, kLocal = 1, kSymmetric = 2 };
class RegisteredMemory {
 public:
  static Outcome<RegisteredMemory> create(ncclComm_t comm, const Memory& memory,
                                          Registration registration);
  RegisteredMemory(RegisteredMemory&& other) noexcept;
  RegisteredMemory& operator=(RegisteredMemory&&) = delete;
  ~RegisteredMemory();

 private:
  RegisteredMemory() = default;
  ncclComm_t comm_ = nullptr;
  void* handle_ = nullptr;
  ncclWindow_t window_ = nullptr;
};

}  // namespace railccl::perftest
