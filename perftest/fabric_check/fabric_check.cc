// fabric_check: validates a whole fabric (docs/fabric-validation.md). Rank 0 leads and speaks; the
// others do what it asks for.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "perftest/common/job.h"
#include "perftest/common/launch.h"
#include "perftest/fabric_check/conductor.h"
#include "perftest/fabric_check/report_html.h"
#include "perftest/fabric_check/report_json.h"
#include "perftest/fabric_check/report_text.h"
#include "perftest/fabric_check/wire.h"

namespace {

namespace perftest = railccl::perftest;
namespace fabric = railccl::perftest::fabric;
using perftest::Exit;
using perftest::Outcome;

enum Code : int { kPass = 0, kUsage = 1, kFail = 2, kIncomplete = 3 };

// For orders when there is no time limit; rank 0 may be busy with the other nodes for long.
constexpr double kLongestWait = 7200;

// Host memory; and who does not answer is to be missed by this program, which knows what it was
// about, before the library gives the communicator up.
void prepare_environment(const fabric::Options& options) {
  setenv("RAILCCL_DEVICE", "host", 0);
  const auto silence = static_cast<int>(4 * options.answer_s) + 20;
  setenv("RAILCCL_SILENCE_TIMEOUT_S", std::to_string(silence).c_str(), 0);
}

Outcome<void> write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return perftest::failure(Exit::kUsage, "cannot write {}", path);
  const bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !whole) {
    return perftest::failure(Exit::kUsage, "cannot write all of {}", path);
  }
  return {};
}

Outcome<void> check_writable(const std::string& path) {
  if (path.empty()) return {};
  std::FILE* const file = std::fopen(path.c_str(), "a");
  if (file == nullptr) return perftest::failure(Exit::kUsage, "cannot write {}", path);
  std::fclose(file);
  return {};
}

Outcome<void> report(const fabric::Options& options, const fabric::Fabric& result,
                     const fabric::Verdict& verdict) {
  fmt::print("{}", options.quiet ? fabric::quiet_text(result, verdict)
                                 : fabric::report_text(result, verdict));
  std::fflush(stdout);
  PERFTEST_TRY(write_file(options.html_file, fabric::report_html(result, verdict)));
  if (options.json_file.empty()) return {};
  return write_file(options.json_file,
                    fabric::report_json(result, verdict)
                            .dump(1, ' ', false, nlohmann::json::error_handler_t::replace) +
                        "\n");
}

int code_of(fabric::Judgement judgement) {
  switch (judgement) {
    case fabric::Judgement::kPass:
      return kPass;
    case fabric::Judgement::kFail:
      return kFail;
    case fabric::Judgement::kIncomplete:
      break;
  }
  return kIncomplete;
}

// Errors that cost nothing yet.
Outcome<fabric::Thresholds> check_files(const fabric::Options& options) {
  PERFTEST_TRY(check_writable(options.html_file));
  PERFTEST_TRY(check_writable(options.json_file));
  if (options.thresholds.empty()) return fabric::Thresholds();
  return fabric::read_thresholds(options.thresholds);
}

Outcome<int> lead(const fabric::Options& options, const fabric::World& world,
                  fabric::Worker& worker) {
  const auto files = check_files(options);
  const fabric::Thresholds thresholds = files.value_or(fabric::Thresholds());
  const auto say = [&](const std::string& line) {
    if (options.quiet) return;
    fmt::print("{}\n", line);
    std::fflush(stdout);
  };
  fabric::Conductor conductor(world, options, thresholds, worker, say);
  if (!files) {
    conductor.end(kUsage);
    return tl::unexpected(files.error());
  }
  const fabric::Fabric& result = conductor.run();
  if (result.missing.empty() && result.node_count() < 2) {
    conductor.end(kUsage);
    return perftest::failure(Exit::kUsage,
                             "all {} ranks are on one node: there is no fabric to check; start it "
                             "on several nodes, or with --local N --virtual-nodes H",
                             world.ranks);
  }
  const fabric::Verdict verdict = fabric::judge(result, thresholds);
  const int code = code_of(verdict.judgement);
  conductor.end(code);
  PERFTEST_TRY(report(options, result, verdict));
  return code;
}

Outcome<int> follow(const fabric::Options& options, const fabric::World& world,
                    fabric::Worker& worker) {
  const double longest =
      options.time_limit_s > 0 ? options.time_limit_s + 4 * options.answer_s : kLongestWait;
  const auto until = [&](double seconds) {
    return fabric::Clock::now() +
           std::chrono::duration_cast<fabric::Clock::duration>(fabric::Seconds(seconds));
  };
  while (true) {
    const auto command = fabric::await_command(world.comm, until(longest));
    if (!command) return tl::unexpected(command.error());
    const bool last = command->value("do", "") == "end";
    const fabric::Json answer = last ? fabric::Json{{"ok", nullptr}} : worker.carry_out(*command);
    const auto answered = fabric::answer(world.comm, answer, until(options.answer_s));
    if (last) return command->value("code", int{kIncomplete});
    if (!answered) return tl::unexpected(answered.error());
  }
}

int run(const fabric::Options& options) {
  const auto say = [&](int rank, const perftest::Failure& failure) {
    fmt::print(stderr, "fabric_check: {}{}\n", rank > 0 ? fmt::format("rank {}: ", rank) : "",
               failure.message);
    return failure.exit == Exit::kUsage ? kUsage : kIncomplete;
  };
  auto job = perftest::Job::join();
  if (!job) return say(0, job.error());
  const perftest::Processes processes = job->processes();
  if (processes.count < 2) {
    return say(0, {Exit::kUsage,
                   "one process alone is no fabric: start it on several nodes (torchrun, Slurm, "
                   "mpirun, fabric-lab), or with --local N --virtual-nodes H"});
  }
  const fabric::World world{.comm = processes.control, .ranks = processes.count};
  const fabric::WorkerSettings settings{.patience_s = options.answer_s,
                                        .sysfs_root = options.sysfs_root};
  Outcome<int> code = kIncomplete;
  {
    fabric::Worker worker(world.comm, settings);
    code = processes.index == 0 ? lead(options, world, worker) : follow(options, world, worker);
  }
  // Whoever waits for this process at its end waits in vain after an error.
  if (!code || *code == kIncomplete) job->abandon();
  return code ? *code : say(processes.index, code.error());
}

int start_local(const fabric::Options& options, const std::vector<std::string>& arguments) {
  perftest::LaunchPlan plan{.ranks = options.local_ranks, .nodes = options.virtual_nodes};
  plan.command = perftest::rank_command(arguments);
  const auto worst = perftest::launch(plan);
  if (worst) return *worst;
  fmt::print(stderr, "fabric_check: {}\n", worst.error().message);
  return kUsage;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto parsed = fabric::parse_options(arguments);
  if (!parsed) {
    fmt::print(stderr, "fabric_check: {}\nfabric_check -h lists the options.\n",
               parsed.error().message);
    return kUsage;
  }
  if (parsed->help) {
    fmt::print("{}", *parsed->help);
    return kPass;
  }
  prepare_environment(parsed->options);
  if (parsed->options.local_ranks > 0) return start_local(parsed->options, arguments);
  return run(parsed->options);
}
