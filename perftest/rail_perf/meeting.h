// How the ranks find each other, and which two of them measure. The main thread.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "perftest/common/mpi_process.h"
#include "perftest/common/outcome.h"
#include "src/core/control_path.h"
#include "src/core/node_info.h"
#include "src/core/runtime.h"

namespace railccl::perftest::railperf {

inline tl::unexpected<Failure> library_failure(const Status& status) {
  return failure(Exit::kLibrary, "{}", status.message());
}

struct Meeting {
  std::optional<MpiProcess> mpi;  // ends last
  std::unique_ptr<ControlPath> control;
  std::vector<NodeInfo> ranks;  // by rank
  std::vector<int> node_of;     // by rank
};

// All ranks together; each needs rails.
Outcome<Meeting> meet(Runtime& runtime);

// A node that measures: its number and its first rank.
struct Member {
  int node = 0;
  int rank = 0;
};
// The nodes that were asked for, by number or host name; none: the first two. Pure; the same on all
// ranks.
Outcome<std::array<Member, 2>> choose_pair(const std::vector<NodeInfo>& ranks,
                                           const std::vector<int>& node_of,
                                           const std::vector<std::string>& asked);

}  // namespace railccl::perftest::railperf
