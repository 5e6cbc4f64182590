// Latency inside a node between forked processes: notifications there and back, and small
// collectives. Arguments: ranks, bytes. Every rank waits as the library would (WaitingPolicy).
#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <new>
#include <vector>

#include "src/core/local_domain.h"
#include "src/core/local_fence.h"
#include "src/core/waiting_policy.h"

namespace railccl {
namespace {

constexpr int kIterations = 200;
constexpr int kCallsPerIteration = 500;

class Waiter {
 public:
  Waiter(LocalDomain& domain, int ranks)
      : domain_(domain), policy_({.ranks = ranks, .cores = domain.cores()}) {}

  template <typename Attempt>
  void until(Attempt attempt) {
    policy_.reset();
    const int rounds = policy_.crowded() ? 1 : 64;
    for (int round = 0; !attempt();) {
      if (++round % rounds != 0) {
        cpu_pause();
        continue;
      }
      switch (policy_.idle(system_clock().now_ns())) {
        case WaitingPolicy::Action::kSpin:
          break;
        case WaitingPolicy::Action::kYield:
          sched_yield();
          break;
        case WaitingPolicy::Action::kSleep:
          domain_.prepare_sleep(LocalDomain::SleepOn::kFutex);
          if (!attempt()) domain_.sleep(kSecond);
          domain_.finish_sleep();
          break;
      }
    }
  }

 private:
  LocalDomain& domain_;
  WaitingPolicy policy_;
};

struct Meeting {
  std::atomic<int> named;
  LocalSegmentName name;
};

void fail(const Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  _exit(1);
}

std::unique_ptr<LocalDomain> join(Meeting& meeting, int ranks, int index) {
  LocalDomainOptions options{.index = index};
  for (int i = 0; i < ranks; ++i) options.ranks.push_back(i);
  Result<std::unique_ptr<LocalDomain>> domain;
  if (index == 0) {
    domain = LocalDomain::create(options);
    if (domain) meeting.name = (*domain)->name();
    meeting.named = 1;
  } else {
    while (meeting.named == 0) sched_yield();
    domain = LocalDomain::attach(options, meeting.name);
  }
  if (!domain) fail(domain.error());
  for (Result<bool> settled = false;;) {
    settled = (*domain)->settle();
    if (!settled) fail(settled.error());
    if (*settled) return std::move(*domain);
    sched_yield();
  }
}

// Runs body(domain, waiter, index) kIterations times on each of `ranks` processes; this one is
// index 0 and is timed.
using Body = std::function<void(LocalDomain&, Waiter&, int)>;

void run(benchmark::State& state, int ranks, const Body& body) {
  auto* const meeting = new (mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Meeting{};
  std::vector<pid_t> children;
  for (int index = 1; index < ranks; ++index) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(120);
      const auto domain = join(*meeting, ranks, index);
      Waiter waiter(*domain, ranks);
      for (int i = 0; i < kIterations; ++i) body(*domain, waiter, index);
      _exit(0);
    }
    children.push_back(child);
  }
  const auto domain = join(*meeting, ranks, 0);
  Waiter waiter(*domain, ranks);
  TimeNs best = kNever;
  for (auto _ : state) {
    const TimeNs begin = system_clock().now_ns();
    body(*domain, waiter, 0);
    best = std::min(best, system_clock().now_ns() - begin);
  }
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  munmap(meeting, sizeof(Meeting));
  // On a machine that does other things too, the best of many short runs says more than the mean.
  state.counters["best_us"] =
      static_cast<double>(best) / kCallsPerIteration / static_cast<double>(kMicrosecond);
  state.counters["mean_us"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kCallsPerIteration / 1e6,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BM_Small(benchmark::State& state, Collective collective) {
  const auto ranks = static_cast<int>(state.range(0));
  const auto bytes = static_cast<size_t>(state.range(1));
  std::vector<std::byte> input(LocalDomain::kMaxSmallBytes * static_cast<size_t>(ranks));
  std::vector<std::byte> output(input.size());
  uint64_t sequence = 0;
  run(state, ranks, [&](LocalDomain& domain, Waiter& waiter, int) {
    for (int i = 0; i < kCallsPerIteration; ++i) {
      domain.small_begin({.collective = collective,
                          .type = DataType::kFloat32,
                          .count = bytes / 4,
                          .input = input.data(),
                          .output = output.data(),
                          .sequence = ++sequence});
      waiter.until([&] { return domain.small_step() != LocalDomain::Progress::kWaiting; });
    }
  });
}

void BM_PingPong(benchmark::State& state) {
  struct Count final : LocalNotificationSink {
    uint64_t got = 0;
    void on_local_notification(int, uint64_t) override { ++got; }
  } sink;
  uint64_t rounds = 0;
  run(state, 2, [&](LocalDomain& domain, Waiter& waiter, int index) {
    const auto receive = [&] { return domain.poll(sink), sink.got == rounds; };
    for (int i = 0; i < kCallsPerIteration; ++i) {
      ++rounds;
      if (index != 0) waiter.until(receive);
      waiter.until([&] { return domain.notify(1 - index, rounds); });
      if (index == 0) waiter.until(receive);
    }
  });
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const int ranks : {2, 4}) {
    for (const int bytes : {8, 56, 256, 1024, 4096, 8192}) benchmark->Args({ranks, bytes});
  }
  benchmark->Iterations(kIterations)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

BENCHMARK(BM_PingPong)->Iterations(kIterations)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Small, AllReduce, Collective::kAllReduce)->Apply(sizes);
BENCHMARK_CAPTURE(BM_Small, AllGather, Collective::kAllGather)->Apply(sizes);
BENCHMARK_CAPTURE(BM_Small, Broadcast, Collective::kBroadcast)->Apply(sizes);
BENCHMARK_CAPTURE(BM_Small, Reduce, Collective::kReduce)->Apply(sizes);

}  // namespace
}  // namespace railccl
