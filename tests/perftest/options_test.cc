#include "perftest/common/options.h"

#include <gmock/gmock.h>

namespace railccl::perftest {
namespace {

using testing::HasSubstr;

Options parsed(const std::vector<std::string>& arguments) {
  const auto result = parse_command_line("all_reduce_perf", arguments);
  EXPECT_TRUE(result) << result.error().message;
  return result ? result->options : Options();
}

std::string refusal(const std::vector<std::string>& arguments) {
  const auto result = parse_command_line("all_reduce_perf", arguments);
  if (result) return "accepted";
  EXPECT_EQ(result.error().exit, Exit::kUsage);
  return result.error().message;
}

TEST(Options, HaveTheDefaultsOfNcclTests) {
  const Options options = parsed({});
  EXPECT_EQ(options.threads, 1);
  EXPECT_EQ(options.sizes.min_bytes, 32u << 20);
  EXPECT_EQ(options.sizes.max_bytes, 32u << 20);
  EXPECT_EQ(options.sizes.step_bytes, 1u << 20);
  EXPECT_EQ(options.sizes.step_factor, 1u);
  EXPECT_EQ(options.iterations, 20);
  EXPECT_EQ(options.warmup_iterations, 1);
  EXPECT_EQ(options.aggregated, 1);
  EXPECT_EQ(options.run_cycles, 1);
  EXPECT_EQ(options.check_iterations, 1);
  EXPECT_EQ(options.operators, std::vector{Operator::kSum});
  EXPECT_EQ(options.types, std::vector{ncclFloat});
  EXPECT_EQ(options.root, 0);
  EXPECT_EQ(options.average, Average::kMean);
  EXPECT_EQ(options.blocking, Blocking::kNone);
  EXPECT_EQ(options.registration, Registration::kNone);
  EXPECT_EQ(options.timeout_s, 0);
  EXPECT_FALSE(own_stream(options));
  EXPECT_EQ(options.graph_launches, 0);
}

TEST(Options, TakeShortAndLongNames) {
  const Options options = parsed({"-b",      "8",         "-e",  "1M",      "-f", "2",
                                  "-n",      "5",         "-w",  "0",       "-m", "3",
                                  "-N",      "0",         "-c",  "2",       "-o", "max",
                                  "-d",      "half",      "-r",  "-1",      "-z", "3",
                                  "-y",      "0",         "-a",  "3",       "-C", "1",
                                  "-T",      "9",         "-S",  "1",       "-J", "out.json",
                                  "-I",      "1",         "-K",  "2",       "-M", "1",
                                  "-u",      "1",         "-t",  "4",       "-p", "1",
                                  "-R",      "2",         "-x",  "2",       "-g", "1",
                                  "-G",      "0",         "-D",  "0",       "-V", "16",
                                  "--rails", "--seconds", "1.5", "--local", "4",  "--virtual-nodes",
                                  "2"});
  EXPECT_EQ(options.sizes.max_bytes, 1u << 20);
  EXPECT_EQ(options.sizes.step_factor, 2u);
  EXPECT_EQ(options.aggregated, 3);
  EXPECT_EQ(options.run_cycles, 0);
  EXPECT_EQ(options.operators, std::vector{Operator::kMax});
  EXPECT_EQ(options.types, std::vector{ncclFloat16});
  EXPECT_EQ(options.root, -1);
  EXPECT_EQ(options.blocking, Blocking::kOuter);
  EXPECT_TRUE(own_stream(options));
  EXPECT_EQ(options.average, Average::kMax);
  EXPECT_TRUE(options.report_cpu_time);
  EXPECT_EQ(options.per_iteration_skip, 2);
  EXPECT_EQ(options.registration, Registration::kSymmetric);
  EXPECT_EQ(options.cta_policy, 2);
  EXPECT_TRUE(options.rails);
  EXPECT_EQ(options.seconds, 1.5);
  EXPECT_EQ(options.local_ranks, 4);
  EXPECT_EQ(options.virtual_nodes, 2);

  const Options longer = parsed({"--minbytes=1K", "--maxbytes=2K", "--stepbytes=1K", "--iters=7",
                                 "--agg_iters=2", "--nthreads=3", "--datatype=all", "--op=all",
                                 "--local_register=1", "--report_timestamps=1"});
  EXPECT_EQ(longer.sizes.min_bytes, 1024u);
  EXPECT_EQ(longer.types.size(), static_cast<size_t>(ncclNumTypes));
  EXPECT_EQ(longer.operators.size(), 6u);
  EXPECT_EQ(longer.threads, 3);
  EXPECT_EQ(longer.registration, Registration::kLocal);
}

TEST(Options, RefuseWithTheCause) {
  EXPECT_THAT(refusal({"--nonsense"}), HasSubstr("--nonsense"));
  EXPECT_THAT(refusal({"stray"}), HasSubstr("stray"));
  EXPECT_THAT(refusal({"-b", "lots"}), HasSubstr("'lots' is not a size"));
  EXPECT_THAT(refusal({"-b", "2K", "-e", "1K"}), HasSubstr("-b 2K is larger than -e 1K"));
  EXPECT_THAT(refusal({"-b", "0", "-f", "2"}), HasSubstr("never gets from"));
  EXPECT_THAT(refusal({"-o", "xor"}), HasSubstr("'xor'"));
  EXPECT_THAT(refusal({"-d", "int128"}), HasSubstr("'int128'"));
  EXPECT_THAT(refusal({"-n", "0"}), HasSubstr("iters"));
  EXPECT_THAT(refusal({"-n", "many"}), HasSubstr("many"));
  EXPECT_THAT(refusal({"-t", "0"}), HasSubstr("nthreads"));
  EXPECT_THAT(refusal({"-g", "2"}), HasSubstr("--local 2"));
  EXPECT_THAT(refusal({"-G", "1", "-z", "1"}), HasSubstr("-z"));
  EXPECT_THAT(refusal({"-G", "1", "-I", "1"}), HasSubstr("-I"));
  EXPECT_THAT(refusal({"-D", "1"}), HasSubstr("device API"));
  EXPECT_THAT(refusal({"-J", "out.csv"}), HasSubstr(".json"));
  EXPECT_THAT(refusal({"-K", "1"}), HasSubstr("-I 1"));
  EXPECT_THAT(refusal({"-I", "1", "-K", "20"}), HasSubstr("-K 20 leaves none"));
  EXPECT_THAT(refusal({"--virtual-nodes", "2"}), HasSubstr("needs --local"));
  EXPECT_THAT(refusal({"--local", "2", "--virtual-nodes", "3"}), HasSubstr("more than --local 2"));
}

// What the options become with the buffers on one of so many GPUs, 0: on the host.
std::string refusal_of_memory(Options options, int gpus) {
  const auto chosen = choose_memory(options, gpus);
  if (chosen) return "accepted";
  EXPECT_EQ(chosen.error().exit, Exit::kUsage);
  return chosen.error().message;
}

TEST(Options, MemoryDecidesOnStreamsAndGraphs) {
  EXPECT_THAT(refusal_of_memory(parsed({"-G", "1"}), 0), HasSubstr("RAILCCL_DEVICE=cuda"));
  EXPECT_EQ(refusal_of_memory(parsed({"-G", "1", "-t", "2"}), 1), "accepted");
  // One stream for ranks that wait for each other.
  EXPECT_THAT(refusal_of_memory(parsed({"-y", "1", "-t", "3"}), 2), HasSubstr("-y 1 -t 3"));
  EXPECT_EQ(refusal_of_memory(parsed({"-y", "1", "-t", "2"}), 2), "accepted");
  EXPECT_THAT(refusal_of_memory(parsed({"-y", "1", "-G", "1"}), 1), HasSubstr("-y 1"));

  Options on_host = parsed({});
  Options on_gpu = parsed({});
  ASSERT_TRUE(choose_memory(on_host, 0) && choose_memory(on_gpu, 1));
  EXPECT_FALSE(own_stream(on_host) || asynchronous(on_host));
  EXPECT_TRUE(on_gpu.gpu_memory && own_stream(on_gpu) && asynchronous(on_gpu));
}

TEST(Options, HelpListsTheOptions) {
  const auto result = parse_command_line("all_reduce_perf", {"-h"});
  ASSERT_TRUE(result && result->help);
  EXPECT_THAT(result->help->text, HasSubstr("--minbytes"));
  EXPECT_THAT(result->help->text, HasSubstr("--virtual-nodes"));
}

}  // namespace
}  // namespace railccl::perftest
