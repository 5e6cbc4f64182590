#include "src/base/mapped_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <utility>

namespace railccl {

Result<MappedMemory> MappedMemory::map(size_t bytes, int protection, int flags, int fd,
                                       size_t offset) {
  if (bytes == 0) return error(Code::kInvalidArgument, "cannot map zero bytes");
  void* data = mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    return system_error(errno,
                        fmt::format("cannot map {} bytes (ulimit -v, memory cgroup?)", bytes));
  }
  return MappedMemory(data, bytes);
}

Result<MappedMemory> MappedMemory::anonymous(size_t bytes) {
  return map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

Result<MappedMemory> MappedMemory::shared(const UniqueFd& file, size_t bytes, size_t offset,
                                          Access access) {
  if (offset % page_bytes() != 0) {
    return error(Code::kInvalidArgument, "cannot map at offset {}: not a multiple of {}", offset,
                 page_bytes());
  }
  const int protection = access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  return map(bytes, protection, MAP_SHARED, file.get(), offset);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

MappedMemory::~MappedMemory() { reset(); }

void MappedMemory::reset() {
  if (data_ != nullptr) munmap(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

Result<UniqueFd> create_memfd(const std::string& label, size_t bytes) {
  if (bytes > static_cast<size_t>(std::numeric_limits<off_t>::max())) {
    return error(Code::kInvalidArgument, "cannot make a memory file of {} bytes", bytes);
  }
  UniqueFd file(memfd_create(label.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return system_error(errno, fmt::format("memfd_create {}", label));
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    return system_error(errno, fmt::format("cannot make memory file {} of {} bytes", label, bytes));
  }
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_error(errno, fmt::format("cannot seal the size of memory file {}", label));
  }
  return file;
}

size_t page_bytes() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t round_to_pages(size_t bytes) {
  const size_t page = page_bytes();
  return (bytes + page - 1) / page * page;
}

}  // namespace railccl
