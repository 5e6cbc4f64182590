// The command line of the *_perf programs: nccl-tests' letters, long names and defaults, and
// RailCCL's own. Pure: parsing touches nothing but the arguments.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "perftest/common/library.h"
#include "perftest/common/outcome.h"
#include "perftest/common/sizes.h"
#include "perftest/common/types.h"

namespace railccl::perftest {

enum class Average { kRank0 = 0, kMean = 1, kMin = 2, kMax = 3 };        // -a
enum class Blocking { kNone = 0, kBarrier = 1, kWait = 2, kOuter = 3 };  // -z

struct Options {
  int threads = 1;
  SizeRange sizes;
  int iterations = 20;
  int aggregated = 1;
  int warmup_iterations = 1;
  int run_cycles = 1;  // 0: for ever
  bool parallel_init = false;
  int check_iterations = 1;  // 0: results are not checked
  std::vector<Operator> operators = {Operator::kSum};
  std::vector<ncclDataType_t> types = {ncclFloat};
  int root = 0;  // -1: every rank in turn
  Blocking blocking = Blocking::kNone;
  // -y 0: a stream of its own; 1: NULL, where calls on memory of the host return with the result.
  std::optional<bool> null_stream;
  int graph_launches = 0;   // -G
  bool gpu_memory = false;  // buffers are on a GPU (choose_memory)
  int timeout_s = 0;        // 0: none
  bool report_cpu_time = false;
  bool report_timestamps = false;
  std::string json_file;
  Average average = Average::kMean;
  Registration registration = Registration::kNone;
  std::optional<int> cta_policy;
  bool memory_report = false;
  int unalign = 0;  // elements
  bool per_iteration = false;
  int per_iteration_skip = 0;

  int local_ranks = 0;    // --local; 0: this process is started by something else
  int virtual_nodes = 0;  // --virtual-nodes; 0: not given
  double seconds = 0;     // --seconds; 0: -n decides
  bool rails = false;     // --rails
};

// Not given, -y is 1, but for memory of a GPU 0, as nccl-tests has it.
inline bool own_stream(const Options& options) {
  return !options.null_stream.value_or(!options.gpu_memory);
}
// Whether calls may return before the result is there.
inline bool asynchronous(const Options& options) {
  return options.gpu_memory || own_stream(options);
}

struct Usage {
  std::string text;  // asked for with -h
};

// Either options, or the help text that was asked for, or what is wrong (Exit::kUsage).
struct ParsedCommandLine {
  Options options;
  std::optional<Usage> help;
};
Outcome<ParsedCommandLine> parse_command_line(const std::string& program,
                                              const std::vector<std::string>& arguments);

// Where the buffers are to be: on one of `gpus` GPUs, or on the host, 0. Refuses what that cannot
// do.
Outcome<void> choose_memory(Options& options, int gpus);

// "all_reduce_perf: what is wrong", and how to get the options.
std::string usage_error(const std::string& program, const std::string& message);

}  // namespace railccl::perftest
