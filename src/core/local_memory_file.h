// Anonymous shared memory (memfd) and its mappings: the one door to the operating system for memory
// that ranks of a node share. A memory file has no name and no size limit but the machine's memory;
// it is gone when the last process that has it open or mapped is gone, however that process ended.
// Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "src/base/status.h"
#include "src/base/unique_fd.h"

namespace railccl {

constexpr size_t kPageBytes = 4096;
constexpr size_t kHugePageBytes = size_t{2} << 20;

constexpr size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// This process; cached, right after fork() too.
uint32_t current_pid();

// `bytes` of zeroes, none of them backed by memory until touched; can neither shrink nor grow, so
// that no access within `bytes` can fault. `purpose` is for /proc/<pid>/maps.
Result<UniqueFd> create_memory_file(const std::string& purpose, size_t bytes);

// The memory file that process `pid` has open as `fd`. `what` names it in the error, which says the
// way out.
Result<UniqueFd> open_memory_file(uint32_t pid, int fd, const std::string& what);

// Asks that pages of shared memory that are not touched yet come to lie on the NUMA node on which
// this thread runs now, whichever process touches them first. Advice: where it cannot be had,
// nothing changes.
void prefer_own_node(std::byte* pages, size_t bytes);

// One mapping of a whole memory file; unmapped at the end. Move-only.
class SharedMapping {
 public:
  // From 2 MiB on the address is aligned for huge pages and the kernel is asked to use them.
  static Result<SharedMapping> map(const UniqueFd& file, size_t bytes);

  SharedMapping() = default;
  SharedMapping(SharedMapping&& other) noexcept;
  SharedMapping& operator=(SharedMapping&& other) noexcept;
  ~SharedMapping();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  SharedMapping(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace railccl
