#include "perftest/rail_perf/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "perftest/common/json_file.h"

namespace railccl::perftest::railperf {
namespace {

// Enough to fill a rail, little enough to end soon on a slow one.
constexpr uint64_t kOutstandingBytes = 4 << 20;
constexpr uint64_t kMostOutstanding = 128;  // as ib_write_bw
constexpr uint64_t kFewestOutstanding = 2;

// The words of the command line that need a second look after CLI11 has split them.
struct RawOptions {
  SizeTexts sizes = {.min_bytes = "8", .max_bytes = "4M", .step_factor = 8};
  std::string rails;
  std::string pair;
};

void add_size_options(CLI::App& app, RailPerfOptions& options, RawOptions& raw) {
  app.add_option("-b,--minbytes", raw.sizes.min_bytes, "smallest size in bytes, with K, M, G")
      ->capture_default_str();
  app.add_option("-e,--maxbytes", raw.sizes.max_bytes, "largest size")->capture_default_str();
  app.add_option("-f,--stepfactor", raw.sizes.step_factor, "factor between sizes")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  auto* iterations =
      app.add_option("-n,--iters", options.iterations, "puts per size, in place of -D")
          ->check(CLI::Range(1, 1 << 30));
  app.add_option("-D,--duration", options.seconds, "seconds per size and measurement")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str()
      ->excludes(iterations);
  app.add_option("-w,--warmup", options.warmup,
                 "puts before, which are not measured; at most a quarter of -D")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  app.add_option("--window", options.window,
                 "puts outstanding; else up to 128, of 4 MiB together, and at least 2")
      ->check(CLI::Range(1, 512));
}

void add_what_options(CLI::App& app, RailPerfOptions& options, RawOptions& raw) {
  app.add_flag("--bandwidth", options.measure.bandwidth,
               "measure only this: bandwidth and message rate, one way");
  app.add_flag("--bidirectional", options.measure.bidirectional,
               "measure only this: bandwidth, both ways at the same time");
  app.add_flag("--latency", options.measure.latency, "measure only this: half round trips");
  app.add_flag("--rate", options.measure.rate,
               "measure only this: puts and messages per second, for sizes that collectives send "
               "as messages");
  app.add_option("-x,--rails", raw.rails,
                 "'each' alone, 'all' together, names: those alone and together; without: each, "
                 "then all");
  app.add_option("--pair", raw.pair,
                 "A,B: these two nodes, by number or host name; without: the first two");
}

void add_other_options(CLI::App& app, RailPerfOptions& options) {
  app.add_option("--poll", options.poll, "spin, adaptive or sleep (as RAILCCL_POLL)")
      ->check(CLI::IsMember({"spin", "adaptive", "sleep"}));
  app.add_option("-J,--output_file", options.json_file, "results also to this .json file");
  app.add_option("--local", options.local_ranks, "start so many rank processes on this machine")
      ->check(CLI::Range(2, 4096));
  app.add_option("--virtual-nodes", options.virtual_nodes, "treat them as so many nodes")
      ->check(CLI::Range(2, 4096));
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

Outcome<RailChoice> read_rails(const std::string& text) {
  if (text.empty()) return RailChoice{};
  if (text == "each") return RailChoice{.together = false};
  if (text == "all") return RailChoice{.each = false};
  RailChoice choice{.names = split(text)};
  if (std::ranges::count(choice.names, "") > 0) {
    return failure(Exit::kUsage, "-x '{}': give 'each', 'all' or names, separated by commas", text);
  }
  choice.together = choice.names.size() > 1;
  return choice;
}

Outcome<void> read_pair(const std::string& text, RailPerfOptions& options) {
  if (text.empty()) return {};
  options.pair = split(text);
  const bool two = options.pair.size() == 2 && std::ranges::count(options.pair, "") == 0;
  if (!two)
    return failure(Exit::kUsage, "--pair '{}': give two nodes, as 0,1 or hosta,hostb", text);
  if (options.pair[0] == options.pair[1]) {
    return failure(Exit::kUsage, "--pair '{}': give two different nodes", text);
  }
  return {};
}

void fill_defaults(RailPerfOptions& options) {
  Measurements& measure = options.measure;
  if (!measure.bandwidth && !measure.bidirectional && !measure.latency && !measure.rate) {
    measure = {.bandwidth = true, .bidirectional = true, .latency = true, .rate = true};
  }
}

Outcome<void> check_combinations(const RailPerfOptions& options) {
  PERFTEST_TRY(check_json_name(options.json_file));
  if (options.sizes.min_bytes == 0) return failure(Exit::kUsage, "-b 0: give at least 1 byte");
  if ((options.local_ranks > 0) != (options.virtual_nodes > 0)) {
    return failure(Exit::kUsage,
                   "--local and --virtual-nodes belong together here: rails run between nodes");
  }
  if (options.virtual_nodes > options.local_ranks) {
    return failure(Exit::kUsage, "--virtual-nodes {} is more than --local {} processes",
                   options.virtual_nodes, options.local_ranks);
  }
  return {};
}

}  // namespace

Outcome<ParsedOptions> parse_options(const std::vector<std::string>& arguments) {
  ParsedOptions parsed;
  RailPerfOptions& options = parsed.options;
  RawOptions raw;
  CLI::App app("Bandwidth, latency and message rate of the rails between two nodes", "rail_perf");
  add_size_options(app, options, raw);
  add_what_options(app, options, raw);
  add_other_options(app, options);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    parsed.help = app.help();
    return parsed;
  } catch (const CLI::ParseError& error) {
    return failure(Exit::kUsage, "{}", error.what());
  }
  const auto sizes = read_size_range(raw.sizes);
  if (!sizes) return tl::unexpected(sizes.error());
  options.sizes = *sizes;
  const auto rails = read_rails(raw.rails);
  if (!rails) return tl::unexpected(rails.error());
  options.rails = *rails;
  PERFTEST_TRY(read_pair(raw.pair, options));
  fill_defaults(options);
  PERFTEST_TRY(check_combinations(options));
  return parsed;
}

uint64_t window_of(const RailPerfOptions& options, uint64_t bytes) {
  if (options.window > 0) return static_cast<uint64_t>(options.window);
  return std::clamp(kOutstandingBytes / bytes, kFewestOutstanding, kMostOutstanding);
}

uint64_t area_bytes(const RailPerfOptions& options) {
  uint64_t most = 0;
  for (const uint64_t bytes : size_sequence(options.sizes)) {
    most = std::max(most, bytes * window_of(options, bytes));
  }
  return most;
}

}  // namespace railccl::perftest::railperf
