#include "perftest/fabric_check/options.h"

#include <CLI/CLI.hpp>

namespace railccl::perftest::fabric {
namespace {

constexpr const char* kDescription =
    "Validates a whole fabric: every pair of nodes on every rail, all at once, collectives with\n"
    "every element checked, and a failover drill. Start one rank or more per node (torchrun, "
    "Slurm,\n"
    "mpirun, fabric-lab), or try it on one machine with --local and --virtual-nodes.\n"
    "Exit code: 0 pass, 1 wrong use, 2 fail, 3 incomplete (a node did not answer, the time limit).";

void add_options(CLI::App& app, Options& options) {
  app.add_option("--thresholds", options.thresholds,
                 "JSON file with what must be reached, instead of comparing siblings");
  app.add_option("--html", options.html_file, "write a page with the matrices to this file");
  app.add_option("-J,--json", options.json_file, "write everything to this JSON file");
  app.add_flag("-q,--quiet", options.quiet, "print only what is wrong");
  app.add_option("--seconds", options.seconds, "of each way of each pair on each rail")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds,
                 "so many rounds of the tournament, spread evenly, instead of all; with N nodes "
                 "there are N - 1")
      ->check(CLI::Range(1, 100000));
  app.add_option("--time-limit", options.time_limit_s,
                 "seconds after which no other stage begins: the report has what there is")
      ->check(CLI::Range(1.0, 1e6));
  app.add_option("--answer", options.answer_s, "seconds to wait for a node that does not answer")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_flag("!--no-collectives", options.collectives, "leave the collectives out");
  app.add_flag("!--no-drill", options.drill, "leave the failover drill out");
  app.add_option("--sysfs", options.sysfs_root, "where /sys is mounted, for the counters")
      ->capture_default_str();
  app.add_option("--local", options.local_ranks, "start so many rank processes on this machine")
      ->check(CLI::Range(2, 4096));
  app.add_option("--virtual-nodes", options.virtual_nodes, "treat them as so many nodes")
      ->check(CLI::Range(2, 4096));
}

}  // namespace

Outcome<ParsedOptions> parse_options(const std::vector<std::string>& arguments) {
  ParsedOptions parsed;
  Options& options = parsed.options;
  CLI::App app(kDescription, "fabric_check");
  add_options(app, options);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    parsed.help = app.help();
    return parsed;
  } catch (const CLI::ParseError& error) {
    return failure(Exit::kUsage, "{}", error.what());
  }
  if (options.virtual_nodes > 0 && options.local_ranks == 0) {
    return failure(Exit::kUsage, "--virtual-nodes needs --local, which starts the processes");
  }
  if (options.virtual_nodes > options.local_ranks) {
    return failure(Exit::kUsage, "--virtual-nodes {} is more than --local {} processes",
                   options.virtual_nodes, options.local_ranks);
  }
  if (options.local_ranks > 0 && options.virtual_nodes == 0) {
    options.virtual_nodes = options.local_ranks;
  }
  return parsed;
}

}  // namespace railccl::perftest::fabric
