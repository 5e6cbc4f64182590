// Memory from mmap that unmaps itself, and memfd files. Move-only; one owner; any thread.
#pragma once

#include <cstddef>
#include <string>

#include "src/base/status.h"
#include "src/base/unique_fd.h"

namespace railccl {

class MappedMemory {
 public:
  enum class Access : unsigned char { kRead, kReadWrite };

  // Zeroed memory of this process alone (fork copies it).
  static Result<MappedMemory> anonymous(size_t bytes);
  // A part of a file, shared with every other mapping of it; `offset` a multiple of the page size.
  // The descriptor may be closed afterwards.
  static Result<MappedMemory> shared(const UniqueFd& file, size_t bytes, size_t offset = 0,
                                     Access access = Access::kReadWrite);

  MappedMemory() = default;
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  ~MappedMemory();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }
  void reset();

 private:
  MappedMemory(void* data, size_t bytes) : data_(static_cast<std::byte*>(data)), bytes_(bytes) {}
  static Result<MappedMemory> map(size_t bytes, int protection, int flags, int fd, size_t offset);

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// An unnamed file of `bytes` zero bytes in memory; `label` is what /proc shows. Pages are taken on
// first use; the size is sealed, so that no peer that maps it can make it shrink under us.
Result<UniqueFd> create_memfd(const std::string& label, size_t bytes);

size_t page_bytes();
// `bytes` rounded up to whole pages.
size_t round_to_pages(size_t bytes);

}  // namespace railccl
