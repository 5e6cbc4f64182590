#include "src/core/local_memory_file.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <iterator>
#include <utility>

#include "src/base/mapped_memory.h"

namespace railccl {
namespace {

std::atomic<uint32_t> cached_pid{0};

// ftruncate() beyond RLIMIT_FSIZE would raise SIGXFSZ, which ends the process.
Status check_file_size_limit(size_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return system_error(errno, "getrlimit(RLIMIT_FSIZE)");
  if (limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur) return Status::ok();
  return error(Code::kSystemError,
               "{} bytes of shared memory exceed the file size limit of this process ({} bytes): "
               "raise it with `ulimit -f unlimited`",
               bytes, static_cast<uint64_t>(limit.rlim_cur));
}

std::string way_out(int errno_value) {
  switch (errno_value) {
    case ENOENT:
      return "that process has ended, has freed it while it was still in use, or is in another PID "
             "namespace (container), which has to be shared";
    case EACCES:
    case EPERM:
      return "no permission: run all ranks of a node as the same user, not set-uid, and with the "
             "same capabilities";
    case EMFILE:
    case ENFILE:
      return "too many open files: raise the limit with `ulimit -n`";
    default:
      return "see the error of the system";
  }
}

}  // namespace

uint32_t current_pid() {
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { cached_pid.store(0, std::memory_order_relaxed); });
  (void)registered;
  uint32_t pid = cached_pid.load(std::memory_order_relaxed);
  if (pid == 0) {
    pid = static_cast<uint32_t>(getpid());
    cached_pid.store(pid, std::memory_order_relaxed);
  }
  return pid;
}

Result<UniqueFd> create_memory_file(const std::string& purpose, size_t bytes) {
  RAILCCL_TRY(check_file_size_limit(bytes));
  return create_memfd(purpose, bytes);
}

Result<UniqueFd> open_memory_file(uint32_t pid, int fd, const std::string& what) {
  const std::string path = fmt::format("/proc/{}/fd/{}", pid, fd);
  UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) {
    const int cause = errno;
    return system_error(cause, fmt::format("cannot open {} of process {} ({}): {}; or set "
                                           "RAILCCL_SHM_DISABLE=1 to do without shared memory",
                                           what, pid, path, way_out(cause)));
  }
  return file;
}

// The kernel keeps the policy with the file, so it holds for faults of every process.
void prefer_own_node(std::byte* pages, size_t bytes) {
  unsigned node = 0;
  if (bytes == 0 || getcpu(nullptr, &node) != 0) return;
  constexpr unsigned kWordBits = 64;
  uint64_t nodes[16] = {};
  if (node >= std::size(nodes) * kWordBits) return;
  nodes[node / kWordBits] = uint64_t{1} << (node % kWordBits);
  (void)syscall(SYS_mbind, pages, bytes, MPOL_PREFERRED, nodes, std::size(nodes) * kWordBits, 0);
}

Result<SharedMapping> SharedMapping::map(const UniqueFd& file, size_t bytes) {
  const size_t alignment = bytes >= kHugePageBytes ? kHugePageBytes : kPageBytes;
  const size_t room = bytes + alignment - kPageBytes;
  void* reserved =
      mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) {
    return system_error(errno,
                        fmt::format("reserving {} bytes of address space (`ulimit -v`?)", room));
  }
  auto* const begin = static_cast<std::byte*>(reserved);
  auto* const aligned =
      reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(begin), alignment));
  const size_t before = static_cast<size_t>(aligned - begin);
  const size_t mapped = round_up(bytes, kPageBytes);
  const size_t after = room > before + mapped ? room - before - mapped : 0;
  if (before != 0) munmap(begin, before);
  if (after != 0) munmap(aligned + mapped, after);
  if (mmap(aligned, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
           file.get(), 0) == MAP_FAILED) {
    const int cause = errno;
    munmap(aligned, mapped);
    return system_error(cause, fmt::format("mapping {} bytes of shared memory", bytes));
  }
  // Advice only: where shared huge pages are off (shmem_enabled), it changes nothing.
  if (bytes >= kHugePageBytes) (void)madvise(aligned, bytes, MADV_HUGEPAGE);
  return SharedMapping(aligned, bytes);
}

SharedMapping::SharedMapping(SharedMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SharedMapping& SharedMapping::operator=(SharedMapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SharedMapping::~SharedMapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace railccl
