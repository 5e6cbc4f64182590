#include "src/core/fork_guard.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <set>

namespace railccl::boot {
namespace {

// Never destroyed: threads and forks may outlive the end of main().
struct Registry {
  Registry() {
    ::pthread_atfork([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                     [] { registry().in_child(); });
  }
  static Registry& registry();

  void in_child() {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : fds) {
      if (null >= 0) {
        ::dup3(null, fd, O_CLOEXEC);
      } else {
        ::close(fd);
      }
    }
    if (null >= 0) ::close(null);
    fds.clear();
    mutex.unlock();
  }

  std::mutex mutex;
  std::set<int> fds;
};

Registry& Registry::registry() {
  static auto* const instance = new Registry;
  return *instance;
}

}  // namespace

GuardedFd::GuardedFd(UniqueFd fd) : fd_(std::move(fd)) {
  if (!fd_) return;
  Registry& registry = Registry::registry();
  const std::lock_guard lock(registry.mutex);
  registry.fds.insert(fd_.get());
}

void GuardedFd::reset() {
  if (!fd_) return;
  Registry& registry = Registry::registry();
  const std::lock_guard lock(registry.mutex);
  registry.fds.erase(fd_.get());
  fd_.reset();
}

}  // namespace railccl::boot
