#include "src/core/local_attach.h"

#include <sys/prctl.h>
#include <sys/uio.h>

#include <cerrno>

namespace railccl {
namespace {

using Transfer = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                             unsigned long);

// The kernel moves at most 2 GiB at a time, and less where a page is missing.
Status transfer_all(Transfer transfer, std::string_view verb, uint32_t pid, uint64_t address,
                    std::byte* local, size_t bytes) {
  size_t moved = 0;
  while (moved < bytes) {
    const iovec here{.iov_base = local + moved, .iov_len = bytes - moved};
    const iovec there{.iov_base = reinterpret_cast<void*>(address + moved),
                      .iov_len = bytes - moved};
    const ssize_t n = transfer(static_cast<pid_t>(pid), &here, 1, &there, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int cause = n < 0 ? errno : EFAULT;
      if (cause == ESRCH) {
        return error(Code::kPeerFailed, "process {} ended while its memory was in use", pid);
      }
      return system_error(
          cause,
          fmt::format("{} {} bytes at {:#x} of process {}{}", verb, bytes - moved, address + moved,
                      pid,
                      cause == EPERM ? " (kernel.yama.ptrace_scope or seccomp forbids it)" : ""));
    }
    moved += static_cast<size_t>(n);
  }
  return Status::ok();
}

}  // namespace

void allow_attach() { (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); }

Status attach_read(uint32_t pid, uint64_t address, std::byte* dst, size_t bytes) {
  return transfer_all(process_vm_readv, "reading", pid, address, dst, bytes);
}

Status attach_write(uint32_t pid, uint64_t address, const std::byte* src, size_t bytes) {
  return transfer_all(process_vm_writev, "writing", pid, address, const_cast<std::byte*>(src),
                      bytes);
}

}  // namespace railccl
