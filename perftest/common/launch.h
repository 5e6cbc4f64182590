// --local N: starts N rank processes of this program on this machine with the environment that
// torchrun would set, shows rank 0's (or everyone's) output and everyone's errors, and leaves no
// process behind: not when a rank dies, not on Ctrl-C, not when this process is killed. The main
// thread of a process without other threads only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "perftest/common/outcome.h"

namespace railccl::perftest {

struct LaunchPlan {
  int ranks = 1;
  int nodes =
      0;  // --virtual-nodes: ranks in so many blocks, each a node of its own; 0: one machine
  std::vector<std::string> command;  // path of the program, then its arguments
  int grace_ms = 10'000;         // for the other ranks to end by themselves after one has failed
  bool all_show_output = false;  // else rank 0 alone
};

// This program again with the arguments that are not about starting: the command of each rank.
std::vector<std::string> rank_command(const std::vector<std::string>& arguments);

// Where the ranks meet.
struct MeetingPoint {
  uint16_t port = 0;   // of 127.0.0.1
  std::string secret;  // RAILCCL_JOB_SECRET
};

// The variables that `rank` gets, beside those of this process.
std::map<std::string, std::string> rank_environment(const LaunchPlan& plan,
                                                    const MeetingPoint& meeting, int rank);

// The worst exit code: of ranks that ended by themselves, 128 + signal of those that were killed by
// others, or of this process if it was interrupted.
Outcome<int> launch(const LaunchPlan& plan);

}  // namespace railccl::perftest
