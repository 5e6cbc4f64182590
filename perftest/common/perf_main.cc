#include "perftest/common/perf_main.h"

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "perftest/common/gpu.h"
#include "perftest/common/launch.h"
#include "perftest/common/options.h"
#include "perftest/common/process.h"

namespace railccl::perftest {
namespace {

std::string base_name(std::string_view path) {
  return std::string(path.substr(path.find_last_of('/') + 1));
}

// The GPUs, if buffers are to be there.
Outcome<std::optional<Gpus>> find_gpus() {
  const char* const text = std::getenv("RAILCCL_DEVICE");
  const std::string_view device = text == nullptr ? "" : text;
  if (device.empty() || device == "auto" || device == "host") return std::nullopt;
  if (device != "cuda") {
    return failure(Exit::kUsage, "RAILCCL_DEVICE={}: it is host, cuda, or auto (host here)",
                   device);
  }
  const auto driver = load_cuda_driver();
  auto gpus = driver ? Gpus::open(**driver) : tl::unexpected(driver.error());
  if (gpus) return std::move(*gpus);
  return failure(Exit::kUsage,
                 "RAILCCL_DEVICE=cuda: {}; unset RAILCCL_DEVICE to measure memory of the host",
                 gpus.error().message);
}

// What a run needs besides the options.
Outcome<std::optional<Gpus>> choose_memory_of_run(Options& options) {
  auto gpus = find_gpus();
  if (!gpus) return gpus;
  PERFTEST_TRY(choose_memory(options, *gpus ? (*gpus)->count() : 0));
  return gpus;
}

// Buffers on a GPU are told from others by their addresses: what the ranks say to each other
// between measurements goes through memory of the host all the same.
void tell_the_library(const Options& options) {
  setenv("RAILCCL_DEVICE", options.gpu_memory ? "auto" : "host", 1);
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
  std::optional<Gpus> gpus;
  if (parsed && !parsed->help) {
    auto chosen = choose_memory_of_run(parsed->options);
    if (chosen) {
      gpus = std::move(*chosen);
    } else {
      parsed = tl::unexpected(chosen.error());
    }
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
  tell_the_library(options);
  ProgramCall call{.program = program, .arguments = {base_name(argv[0])}, .gpus = gpus};
  call.arguments.insert(call.arguments.end(), arguments.begin(), arguments.end());
  return static_cast<int>(run_process(collective, options, call));
}

}  // namespace railccl::perftest
