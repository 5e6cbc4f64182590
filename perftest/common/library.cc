#include "perftest/common/library.h"

#include <cstdio>

namespace railccl::perftest {
namespace {

// For destructors, which cannot pass an error on.
void report(std::string_view call, ncclResult_t result) {
  if (result == ncclSuccess) return;
  fmt::print(stderr, "{}\n", library_failure(call, result, nullptr).message);
}

}  // namespace

Failure library_failure(std::string_view call, ncclResult_t result, ncclComm_t comm) {
  const char* detail = ncclGetLastError(comm);
  if (detail == nullptr || *detail == '\0') detail = ncclGetLastError(nullptr);
  const bool has_detail = detail != nullptr && *detail != '\0';
  return {Exit::kLibrary, fmt::format("{}: {}{}{}", call, ncclGetErrorString(result),
                                      has_detail ? ": " : "", has_detail ? detail : "")};
}

Outcome<void> check(std::string_view call, ncclResult_t result, ncclComm_t comm) {
  if (result == ncclSuccess) return {};
  return tl::unexpected(library_failure(call, result, comm));
}

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  if (this != &other) {
    release();
    comm_ = std::exchange(other.comm_, nullptr);
    abandoned_ = other.abandoned_;
  }
  return *this;
}

Communicator::~Communicator() { release(); }

void Communicator::release() {
  if (comm_ == nullptr) return;
  if (abandoned_) {
    report("ncclCommAbort", ncclCommAbort(comm_));
  } else {
    report("ncclCommDestroy", ncclCommDestroy(comm_));
  }
}

Outcome<Stream> Stream::create(bool own_stream) {
  railcclStream_t stream = nullptr;
  if (own_stream) PERFTEST_TRY(check("railcclStreamCreate", railcclStreamCreate(&stream)));
  return Stream(stream);
}

Stream::~Stream() {
  if (stream_ != nullptr) report("railcclStreamDestroy", railcclStreamDestroy(stream_));
}

Outcome<void> Stream::wait() const {
  if (stream_ == nullptr) return {};
  return check("railcclStreamSynchronize", railcclStreamSynchronize(stream_));
}

Outcome<Memory> Memory::allocate(size_t bytes) {
  void* data = nullptr;
  PERFTEST_TRY(check("ncclMemAlloc", ncclMemAlloc(&data, bytes)));
  return Memory(static_cast<std::byte*>(data), bytes);
}

Memory::~Memory() {
  if (data_ != nullptr) report("ncclMemFree", ncclMemFree(data_));
}

Outcome<RegisteredMemory> RegisteredMemory::create(ncclComm_t comm, const Memory& memory,
                                                   Registration registration) {
  RegisteredMemory registered;
  registered.comm_ = comm;
  if (registration == Registration::kLocal) {
    PERFTEST_TRY(check("ncclCommRegister",
                       ncclCommRegister(comm, memory.data(), memory.bytes(), &registered.handle_),
                       comm));
  } else if (registration == Registration::kSymmetric) {
    PERFTEST_TRY(check("ncclCommWindowRegister",
                       ncclCommWindowRegister(comm, memory.data(), memory.bytes(),
                                              &registered.window_, NCCL_WIN_COLL_SYMMETRIC),
                       comm));
  }
  return registered;
}

RegisteredMemory::RegisteredMemory(RegisteredMemory&& other) noexcept
    : comm_(other.comm_),
      handle_(std::exchange(other.handle_, nullptr)),
      window_(std::exchange(other.window_, nullptr)) {}

RegisteredMemory::~RegisteredMemory() {
  if (handle_ != nullptr) report("ncclCommDeregister", ncclCommDeregister(comm_, handle_));
  if (window_ != nullptr) {
    report("ncclCommWindowDeregister", ncclCommWindowDeregister(comm_, window_));
  }
}

}  // namespace railccl::perftest
