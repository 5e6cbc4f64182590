#include "perftest/common/options.h"

#include <CLI/CLI.hpp>

#include "perftest/common/json_file.h"

namespace railccl::perftest {
namespace {

// The words of the command line that need a second look after CLI11 has split them.
struct RawOptions {
  std::string min_bytes = "32M";
  std::string max_bytes = "32M";
  std::string step_bytes = "1M";
  std::string op = "sum";
  std::string type = "float";
  int gpus = 1;
  int average = 1;
  int blocking = 0;
  int registration = 0;
  std::optional<int> stream_null;
  int device_implementation = 0;
  int device_ctas = 16;
};

void add_size_options(CLI::App& app, Options& options, RawOptions& raw) {
  app.add_option("-b,--minbytes", raw.min_bytes, "smallest size in bytes, with K, M, G")
      ->capture_default_str();
  app.add_option("-e,--maxbytes", raw.max_bytes, "largest size")->capture_default_str();
  app.add_option("-i,--stepbytes", raw.step_bytes, "step between sizes")->capture_default_str();
  app.add_option("-f,--stepfactor", options.sizes.step_factor,
                 "factor between sizes, instead of -i")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("-o,--op", raw.op, "sum, prod, min, max, avg, mulsum or all")
      ->capture_default_str();
  app.add_option("-d,--datatype", raw.type,
                 "int8, uint8, int32, uint32, int64, uint64, half, float, double, bfloat16, "
                 "f8e4m3, f8e5m2 or all")
      ->capture_default_str();
  app.add_option("-r,--root", options.root, "root rank; -1: every rank in turn")
      ->check(CLI::Range(-1, 1 << 24))
      ->capture_default_str();
  app.add_option("-u,--unalign", options.unalign, "first element's index in the buffers")
      ->check(CLI::Range(0, 4096));
}

void add_repetition_options(CLI::App& app, Options& options, RawOptions& raw) {
  const auto at_least = [](int least) { return CLI::Range(least, 1 << 30); };
  app.add_option("-n,--iters", options.iterations, "iterations per size")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("-m,--agg_iters", options.aggregated, "operations in one group per iteration")
      ->check(at_least(1))
      ->capture_default_str();
  app.add_option("-w,--warmup_iters", options.warmup_iterations, "warm-up iterations per size")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("-N,--run_cycles", options.run_cycles, "runs through all sizes; 0: for ever")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "run each size for so long, in rounds of -n")
      ->check(CLI::Range(0.0, 1e7));
  app.add_option("-c,--check", options.check_iterations, "checked iterations; 0: no checking")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("-z,--blocking", raw.blocking,
                 "1: wait and barrier after each operation, 2: wait, 3: wait and barrier after "
                 "each iteration, not timed")
      ->check(CLI::Range(0, 3));
  app.add_option(
         "-y,--stream_null", raw.stream_null,
         "1: NULL stream, where calls on host memory return with the result; 0: a stream of "
         "its own. Default: 1 on host memory, 0 on a GPU")
      ->check(CLI::Range(0, 1));
  app.add_option("-T,--timeout", options.timeout_s, "seconds after which a test is given up")
      ->check(at_least(0));
}

void add_report_options(CLI::App& app, Options& options, RawOptions& raw) {
  app.add_option("-C,--report_cputime", options.report_cpu_time,
                 "1: time until the calls returned");
  app.add_option("-a,--average", raw.average,
                 "time over ranks: 0 rank 0, 1 average, 2 minimum, 3 maximum")
      ->check(CLI::Range(0, 3))
      ->capture_default_str();
  app.add_option("-S,--report_timestamps", options.report_timestamps,
                 "1: time of day in each line");
  app.add_option("-J,--output_file", options.json_file, "results also to this .json file");
  app.add_option("-M,--memory", options.memory_report, "1: report memory use");
  app.add_option("-I,--per_iter_timing", options.per_iteration, "1: time of each iteration");
  app.add_option("-K,--per_iter_skip", options.per_iteration_skip,
                 "iterations left out of the summary of -I")
      ->check(CLI::Range(0, 1 << 30));
  app.add_flag("--rails", options.rails, "a table of what each rail carried");
}

void add_start_options(CLI::App& app, Options& options, RawOptions& raw) {
  app.add_option("-t,--nthreads", options.threads, "ranks of each process, as threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--local", options.local_ranks, "start so many rank processes on this machine")
      ->check(CLI::Range(1, 4096));
  app.add_option("--virtual-nodes", options.virtual_nodes, "treat them as so many nodes")
      ->check(CLI::Range(1, 4096));
  app.add_option("-p,--parallel_init", options.parallel_init, "1: threads join at the same time");
  app.add_option("-R,--local_register", raw.registration, "register buffers: 1 local, 2 symmetric")
      ->check(CLI::Range(0, 2));
  app.add_option("-x,--cta_policy", options.cta_policy, "NCCL_CTA_POLICY_*")
      ->check(CLI::Range(0, 2));
  app.add_option("-g,--ngpus", raw.gpus, "1 (more ranks: -t, --local)")->check(CLI::Range(1, 1024));
  app.add_option(
         "-G,--cudagraph", options.graph_launches,
         "capture the iterations in a CUDA graph and launch it so often (RAILCCL_DEVICE=cuda)")
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("-D,--device_implementation", raw.device_implementation, "0 (no device API)");
  app.add_option("-V,--device_cta_count", raw.device_ctas, "only with -D");
}

Outcome<void> read_names(const RawOptions& raw, Options& options) {
  if (raw.op == "all") {
    options.operators.clear();
    for (const auto& info : all_operators()) options.operators.push_back(info.op);
  } else if (const auto op = find_operator(raw.op)) {
    options.operators = {*op};
  } else {
    return failure(Exit::kUsage, "-o '{}' is not one of sum, prod, min, max, avg, mulsum, all",
                   raw.op);
  }
  if (raw.type == "all") {
    options.types.clear();
    for (const auto& info : all_types()) options.types.push_back(info.type);
  } else if (const auto type = find_type(raw.type)) {
    options.types = {*type};
  } else {
    return failure(Exit::kUsage, "-d '{}' is no data type: -h lists them", raw.type);
  }
  return {};
}

Outcome<void> refuse_what_is_not_served(const RawOptions& raw) {
  if (raw.gpus != 1) {
    return failure(Exit::kUsage, "-g {}: a thread drives one rank; use -t {} or --local {}",
                   raw.gpus, raw.gpus, raw.gpus);
  }
  if (raw.device_implementation != 0) {
    return failure(Exit::kUsage, "-D {}: RailCCL does not serve NCCL's device API",
                   raw.device_implementation);
  }
  return {};
}

Outcome<void> check_combinations(const Options& options) {
  PERFTEST_TRY(check_json_name(options.json_file));
  if (options.per_iteration_skip > 0 && !options.per_iteration) {
    return failure(Exit::kUsage, "-K needs -I 1");
  }
  if (options.per_iteration_skip >= options.iterations) {
    return failure(Exit::kUsage, "-K {} leaves none of -n {} iterations",
                   options.per_iteration_skip, options.iterations);
  }
  if (options.virtual_nodes > 0 && options.local_ranks == 0) {
    return failure(Exit::kUsage, "--virtual-nodes needs --local, which starts the processes");
  }
  if (options.virtual_nodes > options.local_ranks) {
    return failure(Exit::kUsage, "--virtual-nodes {} is more than --local {} processes",
                   options.virtual_nodes, options.local_ranks);
  }
  if (options.graph_launches > 0 &&
      (options.per_iteration || options.blocking != Blocking::kNone)) {
    return failure(Exit::kUsage,
                   "-G {}: an iteration of a CUDA graph cannot be waited for; leave out -I and -z",
                   options.graph_launches);
  }
  return {};
}

}  // namespace

Outcome<void> choose_memory(Options& options, int gpus) {
  options.gpu_memory = gpus > 0;
  if (options.graph_launches > 0 && !options.gpu_memory) {
    return failure(Exit::kUsage,
                   "-G {}: CUDA graphs need GPU buffers, these are host memory; set "
                   "RAILCCL_DEVICE=cuda",
                   options.graph_launches);
  }
  if (!options.gpu_memory || own_stream(options)) return {};
  if (options.graph_launches > 0) {
    return failure(Exit::kUsage, "-G {}: the NULL stream cannot be captured; leave out -y 1",
                   options.graph_launches);
  }
  if (options.threads > gpus) {
    return failure(Exit::kUsage,
                   "-y 1 -t {} on {} GPUs: ranks that share a GPU would wait for each other in its "
                   "NULL stream; leave out -y 1",
                   options.threads, gpus);
  }
  return {};
}

std::string usage_error(const std::string& program, const std::string& message) {
  return fmt::format("{}: {}\nUsage: {} [options]; {} -h lists them.\n", program, message, program,
                     program);
}

Outcome<ParsedCommandLine> parse_command_line(const std::string& program,
                                              const std::vector<std::string>& arguments) {
  ParsedCommandLine parsed;
  Options& options = parsed.options;
  RawOptions raw;
  CLI::App app("RailCCL performance test, with the options and output of nccl-tests", program);
  add_size_options(app, options, raw);
  add_repetition_options(app, options, raw);
  add_report_options(app, options, raw);
  add_start_options(app, options, raw);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    parsed.help = Usage{app.help()};
    return parsed;
  } catch (const CLI::ParseError& error) {
    return failure(Exit::kUsage, "{}", error.what());
  }
  const auto sizes =
      read_size_range({raw.min_bytes, raw.max_bytes, raw.step_bytes, options.sizes.step_factor});
  if (!sizes) return tl::unexpected(sizes.error());
  options.sizes = *sizes;
  PERFTEST_TRY(read_names(raw, options));
  PERFTEST_TRY(refuse_what_is_not_served(raw));
  options.average = static_cast<Average>(raw.average);
  options.blocking = static_cast<Blocking>(raw.blocking);
  options.registration = static_cast<Registration>(raw.registration);
  if (raw.stream_null) options.null_stream = *raw.stream_null != 0;
  PERFTEST_TRY(check_combinations(options));
  return parsed;
}

}  // namespace railccl::perftest
