// railccl_explain: what the library would do and why: rails, topology, and the algorithm for each
// collective by size, or for one call. Started like a *_perf program (--local, torchrun, mpirun);
// rank 0 speaks.
#include <CLI/CLI.hpp>

#include "perftest/common/job.h"
#include "perftest/common/launch.h"
#include "perftest/common/sizes.h"
#include "perftest/common/text_call.h"
#include "perftest/common/types.h"
#include "perftest/explain_measure.h"

namespace {

namespace perftest = railccl::perftest;
using perftest::Exit;
using perftest::Outcome;

struct ExplainOptions {
  std::string collective;  // empty: everything
  std::string size = "1M";
  std::string type = "float";
  std::string op = "sum";
  int root = 0;
  bool json = false;
  bool measure = false;
  int local_ranks = 0;
  int virtual_nodes = 0;
};

constexpr std::pair<const char*, railcclCollective_t> kCollectives[] = {
    {"all_reduce", railcclAllReduce},
    {"all_gather", railcclAllGather},
    {"broadcast", railcclBroadcast},
    {"reduce", railcclReduce},
    {"reduce_scatter", railcclReduceScatter},
    {"alltoall", railcclAllToAll},
    {"gather", railcclGather},
    {"scatter", railcclScatter},
    {"sendrecv", railcclSendRecv}};

void add_options(CLI::App& app, ExplainOptions& options) {
  std::vector<std::string> names;
  for (const auto& [name, value] : kCollectives) names.emplace_back(name);
  app.add_option("collective", options.collective, "one call to explain; without: everything")
      ->check(CLI::IsMember(names));
  app.add_option("-b,--bytes", options.size, "its size per rank")->capture_default_str();
  app.add_option("-d,--datatype", options.type, "its data type")->capture_default_str();
  app.add_option("-o,--op", options.op, "its operator")->capture_default_str();
  app.add_option("-r,--root", options.root, "its root")->capture_default_str();
  app.add_flag("--json", options.json, "as JSON");
  app.add_flag("--measure", options.measure,
               "run it (without a call: AllReduce of some sizes): predicted and measured times");
  app.add_option("--local", options.local_ranks, "start so many rank processes on this machine")
      ->check(CLI::Range(1, 4096));
  app.add_option("--virtual-nodes", options.virtual_nodes, "treat them as so many nodes")
      ->check(CLI::Range(1, 4096));
}

Outcome<railcclCall_t> call_of(const ExplainOptions& options) {
  const auto bytes = perftest::parse_size(options.size);
  const auto type = perftest::find_type(options.type);
  const auto op = perftest::find_operator(options.op);
  if (!bytes) return perftest::failure(Exit::kUsage, "-b '{}' is not a size", options.size);
  if (!type) return perftest::failure(Exit::kUsage, "-d '{}' is no data type", options.type);
  if (!op || *op == perftest::Operator::kMulSum) {
    return perftest::failure(Exit::kUsage, "-o '{}' is not one of sum, prod, min, max, avg",
                             options.op);
  }
  railcclCall_t call = {};
  for (const auto& [name, value] : kCollectives) {
    if (options.collective == name) call.collective = value;
  }
  call.count = *bytes / perftest::type_info(*type).bytes;
  call.datatype = *type;
  call.op = perftest::operator_info(*op).nccl;
  call.root = options.root;
  return call;
}

Outcome<void> explain(const ExplainOptions& options) {
  const auto call = call_of(options);
  if (!call) return tl::unexpected(call.error());
  if (options.measure) setenv("RAILCCL_PREDICT", "1", 1);  // before the library reads it
  const auto job = perftest::Job::join();
  if (!job) return tl::unexpected(job.error());
  const auto id = job->share_unique_id();
  if (!id) return tl::unexpected(id.error());
  ncclComm_t made = nullptr;
  const perftest::Processes processes = job->processes();
  PERFTEST_TRY(perftest::check("ncclCommInitRank",
                               ncclCommInitRank(&made, processes.count, *id, processes.index)));
  const perftest::Communicator comm(made);
  if (options.measure) {
    const auto calls = options.collective.empty() ? perftest::usual_calls() : std::vector{*call};
    PERFTEST_TRY(perftest::measure_calls(comm.get(), processes.count, calls));
  }
  if (processes.index != 0) return {};
  const auto text =
      perftest::text_of("railcclExplain", [&](char* buffer, size_t capacity, size_t* length) {
        return railcclExplain(comm.get(), options.collective.empty() ? nullptr : &*call,
                              options.json ? railcclJson : railcclText, buffer, capacity, length);
      });
  if (!text) return tl::unexpected(text.error());
  fmt::print("{}{}", *text, text->ends_with('\n') ? "" : "\n");
  return {};
}

Outcome<int> start_local(const ExplainOptions& options, int argc, char** argv) {
  if (options.virtual_nodes > options.local_ranks) {
    return perftest::failure(Exit::kUsage, "--virtual-nodes {} is more than --local {} processes",
                             options.virtual_nodes, options.local_ranks);
  }
  perftest::LaunchPlan plan{.ranks = options.local_ranks, .nodes = options.virtual_nodes};
  plan.command = perftest::rank_command({argv + 1, argv + argc});
  return perftest::launch(plan);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("What RailCCL would do, and why", "railccl_explain");
  ExplainOptions options;
  add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::kUsage);
  }
  Outcome<int> code = 0;
  if (options.local_ranks > 0) {
    code = start_local(options, argc, argv);
  } else if (const auto explained = explain(options); !explained) {
    code = tl::unexpected(explained.error());
  }
  if (code) return *code;
  fmt::print(stderr, "railccl_explain: {}\n", code.error().message);
  return static_cast<int>(code.error().exit);
}
