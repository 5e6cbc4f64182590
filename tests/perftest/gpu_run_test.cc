// Whole runs of the programs on memory of a GPU, ranks as threads: the real library, and a stand-in
// for the driver whose memory no host code can touch.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "perftest/common/perf_main.h"
#include "perftest/common/rank_memory.h"
#include "tests/cuda/fake_driver.h"
#include "tests/perftest/result_lines.h"

namespace railccl::perftest {
namespace {

using testing::HasSubstr;

struct Ended {
  int code = -1;
  std::string output;
  std::string errors;
  int kernels = 0;
  int graphs = 0;
};

Ended run(const Collective& collective, std::vector<std::string> arguments) {
  setenv("RAILCCL_DEVICE", "cuda", 1);
  arguments.insert(arguments.begin(), std::string(collective.program));
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  const int kernels = fake_driver_launches();
  const int graphs = fake_driver_graph_launches();
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = perf_main(collective, static_cast<int>(pointers.size()), pointers.data());
  return {.code = code,
          .output = testing::internal::GetCapturedStdout(),
          .errors = testing::internal::GetCapturedStderr(),
          .kernels = fake_driver_launches() - kernels,
          .graphs = fake_driver_graph_launches() - graphs};
}

// No wrong elements, out of place and, where that is defined, in place.
void expect_right(const Ended& ended, const Collective& collective, size_t lines) {
  EXPECT_EQ(ended.code, 0) << collective.program << "\n" << ended.errors << ended.output;
  const std::string in_place = collective.in_place_defined ? "0" : "N/A";
  const std::regex line(R"(( +\S+){8} +0 ( +\S+){3} +)" + in_place);
  const auto found = result_lines(ended.output);
  EXPECT_EQ(found.size(), lines) << ended.output;
  for (const std::string& text : found) EXPECT_TRUE(std::regex_match(text, line)) << text;
  EXPECT_THAT(ended.output, HasSubstr("# Out of bounds values : 0 OK\n"));
}

const Collective* const kAll[] = {&all_reduce(), &all_gather(), &broadcast(),
                                  &reduce(),     &gather(),     &reduce_scatter(),
                                  &alltoall(),   &scatter(),    &sendrecv()};

// In place and out of place, as far as there is something to check.
int placements_checked(const Collective& collective) { return collective.in_place_defined ? 2 : 1; }

TEST(GpuRun, EveryCollectiveIsRight) {
  for (const Collective* collective : kAll) {
    const Ended ended = run(*collective, {"-t", "2", "-b", "256", "-e", "1M", "-f", "64", "-n", "3",
                                          "-w", "0", "-r", "-1"});
    const int lines = collective->rooted ? 6 : 3;
    expect_right(ended, *collective, static_cast<size_t>(lines));
    EXPECT_THAT(ended.output, HasSubstr(" device  0 [0009:09:09] stand-in for a GPU\n"));
    // On each rank, in 2 places: 1 first and 3 that are timed; and those that are checked.
    EXPECT_EQ(ended.kernels, 2 * lines * (2 * 4 + placements_checked(*collective)))
        << collective->program;
  }
}

TEST(GpuRun, EveryTypeAndOperatorIsRight) {
  const Ended ended = run(all_reduce(), {"-t", "2", "-b", "4K", "-e", "4K", "-n", "1", "-w", "0",
                                         "-d", "all", "-o", "all"});
  expect_right(ended, all_reduce(), 12 * 6);
}

TEST(GpuRun, EveryOptionRuns) {
  const std::vector<std::vector<std::string>> variants = {{"-m", "3"},
                                                          {"-z", "1"},
                                                          {"-z", "2"},
                                                          {"-z", "3"},
                                                          {"-y", "0"},
                                                          {"-C", "1"},
                                                          {"-M", "1"},
                                                          {"-u", "3"},
                                                          {"-p", "1"},
                                                          {"-R", "1"},
                                                          {"-R", "2"},
                                                          {"-c", "3"},
                                                          {"-w", "0"},
                                                          {"-T", "60"},
                                                          {"-t", "1"},
                                                          {"-t", "1", "-y", "1"},
                                                          {"-o", "mulsum"},
                                                          {"-o", "mulsum", "-G", "2"},
                                                          {"-m", "2", "-G", "1"},
                                                          {"--seconds", "0.01"},
                                                          {"--seconds", "0.01", "-G", "1"}};
  for (std::vector<std::string> arguments : variants) {
    const std::string name = arguments.front() + " " + arguments.back();
    if (arguments.front() != "-t") arguments.insert(arguments.end(), {"-t", "2"});
    arguments.insert(arguments.end(), {"-b", "1K", "-e", "2K", "-i", "1K", "-n", "3"});
    SCOPED_TRACE(name);
    expect_right(run(all_reduce(), arguments), all_reduce(), 2);
  }
}

TEST(GpuRun, GraphsAreCapturedOnceAndLaunchedSoOften) {
  for (const Collective* collective : kAll) {
    const Ended ended = run(*collective, {"-t", "2", "-b", "1K", "-e", "64K", "-f", "64", "-n", "4",
                                          "-w", "0", "-G", "3"});
    expect_right(ended, *collective, 2);
    EXPECT_THAT(ended.output, HasSubstr(" graph: 3 "));
    // On each rank, in each line and 2 places: 3 launches of the 4 operations that were captured,
    // and the check in a graph of its own.
    const int checks = placements_checked(*collective);
    EXPECT_EQ(ended.graphs, 2 * 2 * (2 * 3 + checks)) << collective->program;
    EXPECT_EQ(ended.kernels, 2 * 2 * (2 * (1 + 4) + checks)) << collective->program;
  }
}

TEST(GpuRun, IterationsHaveTimesWhereEachIsWaitedFor) {
  const std::string path = testing::TempDir() + "gpu" + std::to_string(getpid()) + ".json";
  const Ended ended =
      run(all_gather(), {"-t", "2", "-b", "1K", "-e", "1K", "-n", "7", "-I", "1", "-J", path});
  ASSERT_EQ(ended.code, 0) << ended.errors;
  std::ifstream in(path);
  const auto json = nlohmann::json::parse(in);
  std::filesystem::remove(path);
  EXPECT_EQ(json["results"][0]["time_us"]["out_of_place"]["samples"], 7);
  ASSERT_EQ(json["devices"].size(), 2u);
  EXPECT_EQ(json["devices"][1]["device_info"], "stand-in for a GPU");
  EXPECT_EQ(json["devices"][1]["device_hex"], "0009:09:09");
}

TEST(GpuRun, TheRanksOfAMachineTakeItsGpusInTurn) {
  fake_driver_set_gpus(2);
  const Ended ended = run(all_reduce(), {"-t", "3", "-b", "1K", "-e", "1K", "-n", "1"});
  fake_driver_set_gpus(1);
  expect_right(ended, all_reduce(), 1);
  for (const char* line :
       {"Rank +0 .* device +0 ", "Rank +1 .* device +1 ", "Rank +2 .* device +0 "}) {
    EXPECT_THAT(ended.output, testing::ContainsRegex(line));
  }
}

TEST(GpuRun, WithoutADriverOrAGpuTheErrorSaysSo) {
  const auto none = load_cuda_driver("libcuda-of-nobody.so.1");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().exit, Exit::kUsage);
  EXPECT_THAT(none.error().message, HasSubstr("no CUDA driver (libcuda-of-nobody.so.1"));

  fake_driver_set_gpus(0);
  const Ended ended = run(all_reduce(), {});
  fake_driver_set_gpus(1);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.errors, HasSubstr("RAILCCL_DEVICE=cuda: this process sees no GPU"));
  EXPECT_THAT(ended.errors, HasSubstr("unset RAILCCL_DEVICE"));
  EXPECT_EQ(ended.output, "");

  CudaDriver broken = **load_cuda_driver();
  broken.init = [](unsigned) { return 100; };
  const auto gpus = Gpus::open(broken);
  ASSERT_FALSE(gpus);
  EXPECT_THAT(gpus.error().message, HasSubstr("cuInit: "));
}

TEST(GpuRun, AnErrorOfTheDriverOnOneRankEndsTheOthers) {
  // The other rank's graph is in its stream, and waits for this one.
  fake_driver_fail_graph_launch(5);
  const Ended ended = run(all_reduce(), {"-t", "3", "-b", "64K", "-e", "64K", "-G", "1"});
  fake_driver_fail_graph_launch(0);
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.errors, testing::ContainsRegex("rank [012]: cuGraphLaunch: CUDA_ERROR"));
  EXPECT_EQ(ended.graphs, 3 + 3) << "all had launched the first and the second";
}

// What is checked is what the GPU holds.
TEST(GpuRun, OneWrongBitIsFound) {
  const auto gpus = Gpus::open(**load_cuda_driver());
  ASSERT_TRUE(gpus && gpus->choose(0));
  constexpr size_t kCount = 1000;
  auto memory = RankMemory::create(
      {.bytes = kCount * sizeof(float) + kGuardBytes, .own_stream = true, .gpus = &*gpus});
  ASSERT_TRUE(memory) << memory.error().message;
  const Layout layout{.send_count = kCount, .recv_count = kCount, .call_count = kCount};
  const Pattern pattern({.type = ncclFloat, .op = Operator::kSum, .seed = 5, .ranks = 1});
  const CheckedOperation operation(all_reduce(), layout, Position{}, pattern, false);
  ASSERT_TRUE(memory->prepare(operation, memory->buffers()));
  EXPECT_EQ(memory->count_wrong(operation, memory->buffers()), kCount);

  auto* const view = static_cast<std::byte*>(fake_driver_host_view(memory->buffers().recv));
  pattern.reduction(0, kCount, view);
  EXPECT_EQ(memory->count_wrong(operation, memory->buffers()), 0u);
  view[77] ^= std::byte{1};
  EXPECT_EQ(memory->count_wrong(operation, memory->buffers()), 1u);
  view[kCount * sizeof(float)] ^= std::byte{1};  // the guard
  EXPECT_EQ(memory->count_wrong(operation, memory->buffers()), 2u);
}

}  // namespace
}  // namespace railccl::perftest
