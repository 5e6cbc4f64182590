#include "src/base/trace.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>

#include "src/base/mutex.h"
#include "src/base/settings.h"

namespace railccl {
namespace {

constexpr size_t kMaxRings = 256;  // threads beyond these are not traced
constexpr size_t kMaxSources = 65536;

// `ring` is written by its thread, as is the end of `in_use`; the rest under the registry's mutex.
struct ThreadRing {
  explicit ThreadRing(size_t records) : ring(records) {}
  TraceRing ring;
  int thread_id = 0;
  std::string name;
  std::atomic<bool> in_use{false};
};

struct Registry {
  Mutex mutex;
  bool configured RAILCCL_GUARDED_BY(mutex) = false;
  size_t records RAILCCL_GUARDED_BY(mutex) = 16384;
  std::vector<std::unique_ptr<ThreadRing>> rings RAILCCL_GUARDED_BY(mutex);  // never removed
  // [0]: the process.
  std::vector<TraceSourceInfo> sources RAILCCL_GUARDED_BY(mutex) = {{}};
};

// Never destroyed: threads may record while the process exits.
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

// Trivial, so that reading it needs no guard; ThreadEnd does what a destructor would.
struct ThreadState {
  ThreadRing* ring = nullptr;
  bool untraced = false;  // too many threads, or this one is ending
};
// A few bytes of every thread, so the fixed place that dlopen keeps for such variables has room.
[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadState thread_state;

// Without a lock: the thread may be all that a forked child has, and the lock be held for ever.
struct ThreadEnd {
  ~ThreadEnd() {
    if (thread_state.ring != nullptr) {
      thread_state.ring->in_use.store(false, std::memory_order_release);
    }
    thread_state = {.ring = nullptr, .untraced = true};
  }
};

// The ring of an ended thread is taken over with what it holds; else a new one is made.
ThreadRing* take_ring(Registry& all) RAILCCL_REQUIRES(all.mutex) {
  for (const auto& ring : all.rings) {
    const bool in_use = ring->in_use.load(std::memory_order_acquire);
    if (!in_use && ring->ring.capacity() >= all.records) return ring.get();
  }
  if (all.rings.size() == kMaxRings) return nullptr;
  all.rings.push_back(std::make_unique<ThreadRing>(all.records));
  return all.rings.back().get();
}

[[gnu::noinline]] ThreadRing* begin_thread() {
  static thread_local const ThreadEnd end;
  static_cast<void>(end);
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  ThreadRing* const ring = take_ring(all);
  if (ring != nullptr) {
    std::array<char, 16> name{};
    pthread_getname_np(pthread_self(), name.data(), name.size());
    ring->in_use.store(true, std::memory_order_relaxed);
    ring->thread_id = gettid();
    ring->name = name.data();
  }
  thread_state = {.ring = ring, .untraced = ring == nullptr};
  return ring;
}

}  // namespace

namespace trace_internal {

std::atomic<bool> enabled{false};

void record(const TraceRecord& record) {
  ThreadRing* ring = thread_state.ring;
  if (ring == nullptr) {
    if (thread_state.untraced) return;
    ring = begin_thread();
    if (ring == nullptr) return;
  }
  ring->ring.write(record);
}

}  // namespace trace_internal

void configure_trace(const Settings& settings) {
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  if (all.configured) return;
  all.configured = true;
  all.records = static_cast<size_t>(settings.get_int(Setting::kTraceRecords));
  trace_internal::enabled.store(settings.get_text(Setting::kTrace) != "off",
                                std::memory_order_relaxed);
}

void set_trace_enabled(bool enabled) {
  trace_internal::enabled.store(enabled, std::memory_order_relaxed);
}

TraceSource add_trace_source(uint64_t communicator, int rank) {
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  for (size_t i = 1; i < all.sources.size(); ++i) {
    const TraceSourceInfo& known = all.sources[i];
    if (known.communicator == communicator && known.rank == rank) {
      return static_cast<TraceSource>(i);
    }
  }
  if (all.sources.size() == kMaxSources) return 0;
  all.sources.push_back({communicator, rank});
  return static_cast<TraceSource>(all.sources.size() - 1);
}

std::vector<TraceSourceInfo> trace_sources() {
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  return all.sources;
}

std::vector<TraceThread> trace_snapshot() {
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  std::vector<TraceThread> threads;
  threads.reserve(all.rings.size());
  for (const auto& ring : all.rings) {
    threads.push_back({ring->thread_id, ring->name, ring->ring.snapshot()});
  }
  return threads;
}

}  // namespace railccl
