#include "tests/core/local_harness.h"

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <thread>

namespace railccl {
namespace {

constexpr TimeNs kDeadline = 50 * kSecond;

// In memory that is shared with forked ranks.
struct Meeting {
  std::atomic<bool> named;
  std::atomic<bool> failed;
  LocalSegmentName name;
  char texts[64][1024];
};

bool yield_until(const std::function<bool()>& attempt) {
  const TimeNs deadline = system_clock().now_ns() + kDeadline;
  while (!attempt()) {
    if (system_clock().now_ns() > deadline) return false;
    sched_yield();
  }
  return true;
}

Result<std::unique_ptr<LocalDomain>> join(const HarnessOptions& options, Meeting& meeting,
                                          int index) {
  LocalDomainOptions mine{.index = index, .scratch_bytes = options.scratch_bytes};
  for (int i = 0; i < options.ranks; ++i) mine.ranks.push_back(i);
  if (index != 0) {
    yield_until([&] { return meeting.named.load() || meeting.failed.load(); });
    if (meeting.failed.load()) return error(Code::kAborted, "index 0 made no segment");
    return LocalDomain::attach(mine, meeting.name);
  }
  auto domain = LocalDomain::create(mine);
  if (domain) meeting.name = (*domain)->name();
  (domain ? meeting.named : meeting.failed).store(true);
  return domain;
}

std::string run_rank(const HarnessOptions& options, Meeting& meeting, int index,
                     const RankBody& body) {
  if (options.before) options.before(index);
  auto domain = join(options, meeting, index);
  if (!domain) return std::string(domain.error().message());
  Status status;
  const bool settled = yield_until([&] {
    auto result = (*domain)->settle();
    if (!result) status = result.error();
    return !status || *result;
  });
  if (!status) return std::string(status.message());
  if (!settled) return "the domain did not settle";
  return body(**domain, index);
}

void run_and_note(const HarnessOptions& options, Meeting& meeting, int index,
                  const RankBody& body) {
  const std::string text = run_rank(options, meeting, index, body);
  std::strncpy(meeting.texts[index], text.c_str(), sizeof meeting.texts[index] - 1);
}

void run_threads(const HarnessOptions& options, Meeting& meeting, const RankBody& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < options.ranks; ++i) {
    threads.emplace_back([&, i] { run_and_note(options, meeting, i, body); });
  }
  for (std::thread& thread : threads) thread.join();
}

void note_end(Meeting& meeting, int index, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  const std::string text = fmt::format("process ended with status {:#x}", status);
  std::strncpy(meeting.texts[index], text.c_str(), sizeof meeting.texts[index] - 1);
}

void run_processes(const HarnessOptions& options, Meeting& meeting, const RankBody& body) {
  std::vector<pid_t> children;
  for (int i = 0; i < options.ranks; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(110);  // whatever happens, no process is left behind
      run_and_note(options, meeting, i, body);
      _exit(0);
    }
    children.push_back(child);
  }
  for (int i = 0; i < options.ranks; ++i) {
    int status = 0;
    while (waitpid(children[static_cast<size_t>(i)], &status, 0) < 0 && errno == EINTR) {
    }
    note_end(meeting, i, status);
  }
}

void sleep_on(LocalDomain& domain, WaitHow how) {
  if (how == WaitHow::kFutex) return domain.sleep(kDeadline);
  pollfd descriptor{.fd = domain.wake_fd().value_or(-1), .events = POLLIN, .revents = 0};
  poll(&descriptor, 1, static_cast<int>(kDeadline / kMillisecond));
}

}  // namespace

std::vector<std::string> run_ranks(const HarnessOptions& options, const RankBody& body) {
  void* const shared =
      mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& meeting = *new (shared) Meeting{};
  if (options.as == RanksAs::kThreads) {
    run_threads(options, meeting, body);
  } else {
    run_processes(options, meeting, body);
  }
  std::vector<std::string> texts;
  for (int i = 0; i < options.ranks; ++i) texts.emplace_back(meeting.texts[i]);
  munmap(shared, sizeof(Meeting));
  return texts;
}

bool wait_until(LocalDomain& domain, WaitHow how, const std::function<bool()>& attempt) {
  WaitingPolicy policy({.mode = how == WaitHow::kSpin ? WaitMode::kSpin : WaitMode::kAdaptive,
                        .ranks = 2,
                        .cores = 1});
  const auto kind = how == WaitHow::kDescriptor ? LocalDomain::SleepOn::kDescriptor
                                                : LocalDomain::SleepOn::kFutex;
  if (how == WaitHow::kDescriptor && !domain.wake_fd()) return false;
  const bool sleeps = how == WaitHow::kFutex || how == WaitHow::kDescriptor;
  const TimeNs deadline = system_clock().now_ns() + kDeadline;
  while (!attempt()) {
    const TimeNs now = system_clock().now_ns();
    if (sleeps ||
        (how == WaitHow::kAdaptive && policy.idle(now) == WaitingPolicy::Action::kSleep)) {
      domain.prepare_sleep(kind);
      const bool ready = attempt();
      if (!ready) sleep_on(domain, kind == LocalDomain::SleepOn::kFutex ? WaitHow::kFutex : how);
      domain.finish_sleep();
      if (ready) return true;
      // Not looked at again: what came without a doorbell came too late.
      if (system_clock().now_ns() > deadline) return false;
    } else {
      if (now > deadline) return false;
      if (how != WaitHow::kSpin) sched_yield();
    }
  }
  return true;
}

}  // namespace railccl
