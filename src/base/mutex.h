// Mutexes whose data is annotated: clang's thread-safety analysis, which tests/tools/check_locks.py
// runs, proves that what is RAILCCL_GUARDED_BY a mutex is touched only while it is held, and that
// what RAILCCL_REQUIRES it is called only then. The words are those of clang's documentation
// ("Thread Safety Analysis"); other compilers see none of them. Any thread.
#pragma once

#include <mutex>

#if defined(__clang__)
#define RAILCCL_LOCK_WORD(word) __attribute__((word))
#else
#define RAILCCL_LOCK_WORD(word)
#endif

#define RAILCCL_CAPABILITY(kind) RAILCCL_LOCK_WORD(capability(kind))
#define RAILCCL_SCOPED_CAPABILITY RAILCCL_LOCK_WORD(scoped_lockable)
#define RAILCCL_GUARDED_BY(mutex) RAILCCL_LOCK_WORD(guarded_by(mutex))
#define RAILCCL_REQUIRES(...) RAILCCL_LOCK_WORD(requires_capability(__VA_ARGS__))
#define RAILCCL_RETURN_CAPABILITY(mutex) RAILCCL_LOCK_WORD(lock_returned(mutex))
#define RAILCCL_ACQUIRE(...) RAILCCL_LOCK_WORD(acquire_capability(__VA_ARGS__))
#define RAILCCL_TRY_ACQUIRE(...) RAILCCL_LOCK_WORD(try_acquire_capability(__VA_ARGS__))
#define RAILCCL_RELEASE(...) RAILCCL_LOCK_WORD(release_capability(__VA_ARGS__))

namespace railccl {

class RAILCCL_CAPABILITY("mutex") Mutex {
 public:
  void lock() RAILCCL_ACQUIRE() { mutex_.lock(); }
  bool try_lock() RAILCCL_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() RAILCCL_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class RAILCCL_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) RAILCCL_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RAILCCL_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace railccl
