#include "perftest/common/local_job.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace railccl::perftest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kInterruptGrace{2};

std::vector<std::string> environment_with(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    if (!variables.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [name, value] : variables) {
    if (!value.empty()) all.push_back(name + "=" + value);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// What the child needs, made before the fork: after it only plain system calls are allowed.
struct ChildSetup {
  char* const* arguments;
  char* const* environment;
  const sigset_t* mask;
  pid_t parent;
  int errors;
  bool shows_output;
};

[[noreturn]] void become_rank(const ChildSetup& setup) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != setup.parent) _exit(128 + SIGKILL);  // it died before the line above
  sigprocmask(SIG_SETMASK, setup.mask, nullptr);
  if (!setup.shows_output) {
    const int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, STDOUT_FILENO);
  }
  dup2(setup.errors, STDERR_FILENO);
  execve(setup.arguments[0], setup.arguments, setup.environment);
  dprintf(STDERR_FILENO, "cannot execute %s: errno %d\n", setup.arguments[0], errno);
  _exit(127);
}

int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Outcome<LocalJob> LocalJob::create(int grace_ms) {
  LocalJob job;
  job.grace_ms_ = grace_ms;
  sigset_t mask;
  sigemptyset(&mask);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&mask, number);
  job.signals_ = Descriptor(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!job.signals_.is_open()) {
    return failure(Exit::kUsage, "signalfd: {}", std::strerror(errno));
  }
  sigprocmask(SIG_BLOCK, &mask, &job.old_mask_);
  return job;
}

LocalJob::~LocalJob() {
  if (!signals_.is_open()) return;  // moved from
  signal_all(SIGKILL);
  for (Child& child : children_) {
    if (child.pid != 0) waitpid(child.pid, nullptr, 0);
  }
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

Outcome<void> LocalJob::start(const std::vector<std::string>& command,
                              const std::map<std::string, std::string>& variables,
                              bool shows_output) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = environment_with(variables);
  const std::vector<char*> argument_pointers = pointers_to(arguments);
  const std::vector<char*> environment_pointers = pointers_to(environment);
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return failure(Exit::kUsage, "pipe for rank {}: {}", children_.size(), std::strerror(errno));
  }
  Descriptor reading(ends[0]);
  const Descriptor writing(ends[1]);
  fcntl(reading.get(), F_SETFL, O_NONBLOCK);
  const ChildSetup setup = {argument_pointers.data(),
                            environment_pointers.data(),
                            &old_mask_,
                            getpid(),
                            writing.get(),
                            shows_output};
  const pid_t pid = fork();
  if (pid == 0) become_rank(setup);
  if (pid < 0) {
    return failure(Exit::kUsage, "fork for rank {}: {}", children_.size(), std::strerror(errno));
  }
  children_.push_back(
      {pid, std::move(reading), LinePrefixer(fmt::format("[rank {}] ", children_.size()))});
  return {};
}

int LocalJob::wait() {
  while (any_running()) {
    wait_for_something();
    for (Child& child : children_) read_errors(child);
    take_signals();
    reap();
    check_deadline();
  }
  for (Child& child : children_) {
    read_errors(child);
    fmt::print(stderr, "{}", child.lines.finish());
  }
  return interrupted_by_ != 0 ? 128 + interrupted_by_ : worst_;
}

bool LocalJob::any_running() const {
  return std::ranges::any_of(children_, [](const Child& child) { return child.pid != 0; });
}

void LocalJob::wait_for_something() {
  std::vector<pollfd> waiting = {{signals_.get(), POLLIN, 0}};
  for (const Child& child : children_) {
    if (child.errors.is_open()) waiting.push_back({child.errors.get(), POLLIN, 0});
  }
  int timeout_ms = -1;
  if (deadline_) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - Clock::now()).count();
    timeout_ms = static_cast<int>(std::max<int64_t>(left + 1, 0));
  }
  poll(waiting.data(), waiting.size(), timeout_ms);
}

void LocalJob::read_errors(Child& child) {
  std::array<char, 4096> piece;
  while (child.errors.is_open()) {
    const ssize_t bytes = read(child.errors.get(), piece.data(), piece.size());
    if (bytes > 0) {
      fmt::print(stderr, "{}", child.lines.add({piece.data(), static_cast<size_t>(bytes)}));
    } else if (bytes == 0 || (errno != EAGAIN && errno != EINTR)) {
      child.errors = Descriptor();
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void LocalJob::take_signals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    const auto number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) continue;
    // The first asks the ranks to end, the second does not.
    signal_all(interrupted_by_ == 0 ? SIGTERM : SIGKILL);
    if (interrupted_by_ == 0) deadline_ = Clock::now() + kInterruptGrace;
    interrupted_by_ = number;
  }
}

void LocalJob::reap() {
  for (size_t rank = 0; rank < children_.size(); ++rank) {
    Child& child = children_[rank];
    int status = 0;
    if (child.pid == 0 || waitpid(child.pid, &status, WNOHANG) != child.pid) continue;
    child.pid = 0;
    note_end(rank, status);
  }
}

void LocalJob::note_end(size_t rank, int status) {
  const int code = exit_code(status);
  if (code == 0 || killed_rest_ || interrupted_by_ != 0) return;
  worst_ = std::max(worst_, code);
  if (WIFSIGNALED(status)) {
    fmt::print(stderr, "[rank {}] killed by signal {} ({})\n", rank, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
  }
  if (!deadline_) deadline_ = Clock::now() + std::chrono::milliseconds(grace_ms_);
}

void LocalJob::check_deadline() {
  if (!deadline_ || killed_rest_ || Clock::now() < *deadline_) return;
  for (size_t rank = 0; rank < children_.size(); ++rank) {
    if (children_[rank].pid == 0) continue;
    fmt::print(stderr, "[rank {}] did not end in time after {}: killed\n", rank,
               interrupted_by_ != 0 ? "the interrupt" : "another rank had failed");
  }
  killed_rest_ = true;
  signal_all(SIGKILL);
}

void LocalJob::signal_all(int signal_number) {
  for (const Child& child : children_) {
    if (child.pid != 0) kill(child.pid, signal_number);
  }
}

}  // namespace railccl::perftest
