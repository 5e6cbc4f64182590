// Child processes that live and die together. Used by launch.cc, from one thread; while one exists,
// SIGINT, SIGTERM, SIGHUP and SIGCHLD of this process come to it.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "perftest/common/descriptor.h"
#include "perftest/common/line_prefixer.h"
#include "perftest/common/outcome.h"

namespace railccl::perftest {

class LocalJob {
 public:
  static Outcome<LocalJob> create(int grace_ms);
  LocalJob(LocalJob&&) = default;
  LocalJob& operator=(LocalJob&&) = delete;
  // Kills what still runs.
  ~LocalJob();

  // Starts rank 0, 1, ...: an empty value of `variables` removes the variable.
  Outcome<void> start(const std::vector<std::string>& command,
                      const std::map<std::string, std::string>& variables, bool shows_output);
  // Until all have ended; the worst exit code.
  int wait();

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Child {
    pid_t pid = 0;  // 0: ended
    Descriptor errors;
    LinePrefixer lines;
  };
  LocalJob() = default;

  bool any_running() const;
  void wait_for_something();
  void read_errors(Child& child);
  void reap();
  void note_end(size_t rank, int status);
  void take_signals();
  void signal_all(int signal_number);
  void check_deadline();

  Descriptor signals_;
  sigset_t old_mask_ = {};
  int grace_ms_ = 0;
  std::vector<Child> children_;
  std::optional<Time> deadline_;  // then whoever still runs is killed
  bool killed_rest_ = false;
  int interrupted_by_ = 0;  // signal
  int worst_ = 0;
};

}  // namespace railccl::perftest
