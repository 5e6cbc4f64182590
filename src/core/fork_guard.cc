#include "src/core/fork_guard.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <set>

#include "src/base/mutex.h"

namespace railccl::boot {
namespace {

// Never destroyed: threads and forks may outlive the end of main().
struct Registry {
  Registry() {
    // Held by the thread that forks, in both processes.
    ::pthread_atfork([]() RAILCCL_ACQUIRE(registry().mutex) { registry().mutex.lock(); },
                     []() RAILCCL_RELEASE(registry().mutex) { registry().mutex.unlock(); },
                     []() RAILCCL_RELEASE(registry().mutex) { registry().in_child(); });
  }
  static Registry& registry();

  void in_child() RAILCCL_RELEASE(mutex) {
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

  Mutex mutex;
  std::set<int> fds RAILCCL_GUARDED_BY(mutex);
};

Registry& Registry::registry() {
  static auto* const instance = new Registry;
  return *instance;
}

}  // namespace

GuardedFd::GuardedFd(UniqueFd fd) : fd_(std::move(fd)) {
  if (!fd_) return;
  Registry& registry = Registry::registry();
  const MutexLock lock(registry.mutex);
  registry.fds.insert(fd_.get());
}

void GuardedFd::reset() {
  if (!fd_) return;
  Registry& registry = Registry::registry();
  const MutexLock lock(registry.mutex);
  registry.fds.erase(fd_.get());
  fd_.reset();
}

}  // namespace railccl::boot
