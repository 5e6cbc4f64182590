#include "perftest/common/perf_main.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "perftest/common/launch.h"
#include "perftest/common/options.h"
#include "perftest/common/process.h"

namespace railccl::perftest {
namespace {

std::string base_name(std::string_view path) {
  return std::string(path.substr(path.find_last_of('/') + 1));
}

// Buffers here are host memory: the communicators must be host communicators.
Outcome<void> choose_host_memory() {
  const char* device = std::getenv("RAILCCL_DEVICE");
  if (device == nullptr || *device == '\0') {
    setenv("RAILCCL_DEVICE", "host", 1);
    return {};
  }
  if (std::string_view(device) == "host") return {};
  return failure(Exit::kUsage,
                 "RAILCCL_DEVICE={}: these programs measure host memory; unset it or say 'host'",
                 device);
}

int start_local(const Options& options, const std::string& program,
                const std::vector<std::string>& arguments) {
  LaunchPlan plan{.ranks = options.local_ranks, .nodes = options.virtual_nodes};
  plan.command = rank_command(arguments);
  const auto worst = launch(plan);
  if (worst) return *worst;
  fmt::print(stderr, "{}: {}\n", program, worst.error().message);
  return static_cast<int>(worst.error().exit);
}

}  // namespace

int perf_main(const Collective& collective, int argc, char** argv) {
  const std::string program(collective.program);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  auto parsed = parse_command_line(program, arguments);
  if (parsed && !parsed->help) {
    if (const auto chosen = choose_host_memory(); !chosen) parsed = tl::unexpected(chosen.error());
  }
  if (!parsed) {
    fmt::print(stderr, "{}", usage_error(program, parsed.error().message));
    return static_cast<int>(parsed.error().exit);
  }
  if (parsed->help) {
    fmt::print("{}", parsed->help->text);
    return 0;
  }
  const Options& options = parsed->options;
  if (options.local_ranks > 0) return start_local(options, program, arguments);
  ProgramCall call{.program = program, .arguments = {base_name(argv[0])}};
  call.arguments.insert(call.arguments.end(), arguments.begin(), arguments.end());
  return static_cast<int>(run_process(collective, options, call));
}

}  // namespace railccl::perftest
