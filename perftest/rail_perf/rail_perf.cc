// rail_perf: bandwidth, latency and message rate between two nodes, of each rail alone and of all
// together, through the library's own rails and links.
#include <cstdlib>

#include "perftest/common/launch.h"
#include "perftest/common/options.h"
#include "perftest/rail_perf/node.h"

namespace {

namespace perftest = railccl::perftest;

constexpr const char* kProgram = "rail_perf";

int start_local(const perftest::railperf::RailPerfOptions& options,
                const std::vector<std::string>& arguments) {
  perftest::LaunchPlan plan{.ranks = options.local_ranks,
                            .nodes = options.virtual_nodes,
                            .command = perftest::rank_command(arguments),
                            .all_show_output = true};  // the one that measures has something to say
  const auto worst = perftest::launch(plan);
  if (worst) return *worst;
  fmt::print(stderr, "{}: {}\n", kProgram, worst.error().message);
  return static_cast<int>(worst.error().exit);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto parsed = perftest::railperf::parse_options(arguments);
  if (!parsed) {
    fmt::print(stderr, "{}", perftest::usage_error(kProgram, parsed.error().message));
    return static_cast<int>(parsed.error().exit);
  }
  if (parsed->help) {
    fmt::print("{}", *parsed->help);
    return 0;
  }
  const auto& options = parsed->options;
  if (!options.poll.empty()) setenv("RAILCCL_POLL", options.poll.c_str(), 1);
  if (options.local_ranks > 0) return start_local(options, arguments);
  std::vector<std::string> call = {kProgram};
  call.insert(call.end(), arguments.begin(), arguments.end());
  return perftest::railperf::run_node(options, call);
}
