// Whole runs of the programs on the stand-in library, ranks as threads: what they print, the file
// they write, how they end.
#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "perftest/common/perf_main.h"
#include "tests/perftest/fake_nccl.h"
#include "tests/perftest/result_lines.h"

namespace railccl::perftest {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

struct Ended {
  int code = -1;
  std::string output;
  std::string errors;
};

Ended run(const Collective& collective, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::string(collective.program));
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = perf_main(collective, static_cast<int>(pointers.size()), pointers.data());
  Ended result{code, testing::internal::GetCapturedStdout(),
               testing::internal::GetCapturedStderr()};
  EXPECT_EQ(fake_nccl::communicators(), 0);
  return result;
}

const Collective* const kAll[] = {&all_reduce(), &all_gather(), &broadcast(),
                                  &reduce(),     &gather(),     &reduce_scatter(),
                                  &alltoall(),   &scatter(),    &sendrecv()};

class RunTest : public testing::Test {
 protected:
  void TearDown() override { fake_nccl::set_hook(nullptr); }
};

TEST_F(RunTest, EveryCollectiveEveryTypeAndOperatorIsRight) {
  for (const Collective* collective : kAll) {
    const Ended result = run(*collective, {"-t", "4", "-b", "256", "-e", "4K", "-f", "4", "-n", "2",
                                           "-d", "all", "-o", "all", "-r", "-1"});
    EXPECT_EQ(result.code, 0) << collective->program << "\n" << result.errors << result.output;
    const size_t roots = collective->rooted ? 4 : 1;
    const size_t operators = collective->reduces ? 6 : 1;
    EXPECT_EQ(result_lines(result.output).size(), 3 * 12 * roots * operators);
    EXPECT_THAT(result.output, HasSubstr("# Out of bounds values : 0 OK\n"));
    EXPECT_THAT(result.output,
                HasSubstr("# Collective test concluded: " + std::string(collective->program)));
  }
}

TEST_F(RunTest, LinesHaveNcclTestsColumns) {
  const Ended result = run(all_reduce(), {"-t", "3", "-b", "8", "-e", "64", "-f", "2"});
  const std::regex line(
      R"( +\d+ +\d+ +float +sum +-1 +[\d.]+ +[\d.]+ +[\d.]+ +0 +[\d.]+ +[\d.]+ +[\d.]+ +0)");
  const auto lines = result_lines(result.output);
  ASSERT_EQ(lines.size(), 4u) << result.output;
  for (const std::string& text : lines) EXPECT_TRUE(std::regex_match(text, line)) << text;
  EXPECT_THAT(result.output, HasSubstr("#  Rank  2 Group  0 Pid"));
}

TEST_F(RunTest, EveryOptionRuns) {
  const std::vector<std::vector<std::string>> variants = {{"-m", "3"},
                                                          {"-z", "1"},
                                                          {"-z", "2"},
                                                          {"-z", "3"},
                                                          {"-y", "0"},
                                                          {"-y", "0", "-I", "1"},
                                                          {"-I", "1", "-K", "1"},
                                                          {"-a", "0"},
                                                          {"-a", "2"},
                                                          {"-a", "3"},
                                                          {"-C", "1"},
                                                          {"-S", "1"},
                                                          {"-M", "1"},
                                                          {"-u", "3"},
                                                          {"-p", "1"},
                                                          {"-R", "1"},
                                                          {"-R", "2"},
                                                          {"-x", "1"},
                                                          {"-c", "3"},
                                                          {"-N", "2"},
                                                          {"-w", "0"},
                                                          {"--seconds", "0.01"},
                                                          {"-T", "60"},
                                                          {"--rails"},
                                                          {"-o", "mulsum", "-m", "2"}};
  for (std::vector<std::string> arguments : variants) {
    const std::string name = arguments.front() + " " + arguments.back();
    arguments.insert(arguments.end(), {"-t", "2", "-b", "1K", "-e", "2K", "-i", "1K", "-n", "3"});
    const Ended result = run(all_reduce(), arguments);
    EXPECT_EQ(result.code, 0) << name << "\n" << result.errors;
    EXPECT_EQ(result_lines(result.output).size(), name == "-N 2" ? 4u : 2u) << name;
  }
}

TEST_F(RunTest, UncheckedResultsAreNotApplicable) {
  const Ended unchecked = run(all_reduce(), {"-t", "2", "-b", "1K", "-e", "1K", "-c", "0"});
  EXPECT_THAT(result_lines(unchecked.output).at(0), ContainsRegex("N/A .* N/A$"));
  // In place means nothing for these two; the stand-in refuses it.
  for (const Collective* two : {&alltoall(), &sendrecv()}) {
    const Ended ended = run(*two, {"-t", "2", "-b", "1K", "-e", "1K"});
    EXPECT_EQ(ended.code, 0) << ended.errors;
    EXPECT_THAT(result_lines(ended.output).at(0), ContainsRegex(" 0  .* N/A$"));
  }
}

TEST_F(RunTest, OneWrongBitOnOneRankIsFound) {
  std::atomic<int> spoiled{0};
  fake_nccl::set_hook([&](int rank, std::string_view, std::span<std::byte> output) {
    if (rank == 2 && !output.empty()) {
      output[output.size() / 2] ^= std::byte{1};
      ++spoiled;
    }
    return ncclSuccess;
  });
  const Ended result = run(all_gather(), {"-t", "4", "-b", "4K", "-e", "4K", "-n", "1"});
  EXPECT_GT(spoiled, 0);
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result_lines(result.output).at(0), ContainsRegex(" 1  .* 1$"));
  // One rank, out of place and in place.
  EXPECT_THAT(result.output, HasSubstr("# Out of bounds values : 2 FAILED"));
}

TEST_F(RunTest, AFailingCallEndsTheRunWithItsName) {
  std::atomic<int> calls{0};
  fake_nccl::set_hook([&](int rank, std::string_view, std::span<std::byte>) {
    return rank == 1 && ++calls == 5 ? ncclSystemError : ncclSuccess;
  });
  const Ended result = run(all_reduce(), {"-t", "3", "-b", "1K", "-e", "1K"});
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.errors,
            "rank 1: all_reduce_perf: fake error: the test's hook failed this call\n");
  EXPECT_THAT(result.output, Not(HasSubstr("concluded")));
}

TEST_F(RunTest, TimeoutEndsAHangingRun) {
  // Rank 0 waits in its call until the watchdog has revoked the communicator.
  fake_nccl::set_hook([&](int rank, std::string_view, std::span<std::byte>) {
    return rank == 0 ? fake_nccl::wait_until_revoked() : ncclSuccess;
  });
  const Ended result = run(all_reduce(), {"-t", "2", "-b", "1K", "-e", "1K", "-T", "1"});
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.errors, HasSubstr("Test timeout (1s)"));
}

TEST_F(RunTest, BandwidthBelowTheWantedFails) {
  setenv("NCCL_TESTS_MIN_BW", "1e9", 1);
  const Ended result = run(all_reduce(), {"-t", "2", "-b", "1K", "-e", "1K"});
  unsetenv("NCCL_TESTS_MIN_BW");
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.output, ContainsRegex("# Avg bus bandwidth    : .* FAILED\n"));
}

TEST_F(RunTest, JsonFileAgreesWithTheTable) {
  const std::string path = testing::TempDir() + "run" + std::to_string(getpid()) + ".json";
  const Ended result = run(
      reduce(), {"-t", "3", "-b", "1K", "-e", "4K", "-f", "2", "-J", path, "-I", "1", "-r", "2"});
  ASSERT_EQ(result.code, 0) << result.errors;
  std::ifstream in(path);
  const auto json = nlohmann::json::parse(in);
  std::filesystem::remove(path);
  ASSERT_EQ(json["results"].size(), 3u);
  const auto lines = result_lines(result.output);
  for (size_t i = 0; i < 3; ++i) {
    const auto& entry = json["results"][i];
    std::istringstream line(lines.at(i));
    uint64_t bytes = 0, count = 0;
    std::string type, op;
    int root = 0;
    double time = 0;
    line >> bytes >> count >> type >> op >> root >> time;
    EXPECT_EQ(entry["size"], bytes);
    EXPECT_EQ(entry["count"], count);
    EXPECT_EQ(entry["redop"], op);
    EXPECT_EQ(std::stoi(entry["root"].get<std::string>()), root);
    EXPECT_NEAR(entry["out_of_place"]["time"].get<double>(), time, 0.06 + time * 1e-3);
    EXPECT_EQ(entry["out_of_place"]["nwrong"], 0);
    EXPECT_EQ(entry["time_us"]["out_of_place"]["samples"], 20);
    EXPECT_EQ(entry["out_of_place_per_iter"]["times_us"].size(), 20u);
  }
  // The stand-in gives rank r r % 3 rails.
  ASSERT_EQ(json["rails"].size(), 3u);
  EXPECT_EQ(json["rails"][0]["rank"], 1);
  EXPECT_EQ(json["rails"][2]["rank"], 2);
  EXPECT_EQ(json["rails"][2]["name"], "fake1");
  EXPECT_EQ(json["rails"][2]["bytes"], 2001);
  EXPECT_EQ(json["devices"].size(), 3u);
}

TEST_F(RunTest, BadCommandLinesSayWhatIsWrong) {
  const Ended unknown = run(all_reduce(), {"--frobnicate"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.errors, HasSubstr("--frobnicate"));
  EXPECT_THAT(unknown.errors, HasSubstr("Usage: all_reduce_perf"));
  EXPECT_EQ(unknown.output, "");
  const Ended root = run(broadcast(), {"-t", "2", "-r", "2"});
  EXPECT_EQ(root.code, 1);
  EXPECT_THAT(root.errors, HasSubstr("-r 2: there are only 2 ranks"));
  const Ended huge = run(all_reduce(), {"-b", "8", "-e", "900000G", "-f", "2"});
  EXPECT_EQ(huge.code, 1);
  EXPECT_THAT(huge.errors, HasSubstr("this machine has"));
  setenv("RAILCCL_DEVICE", "abacus", 1);
  const Ended device = run(all_reduce(), {});
  unsetenv("RAILCCL_DEVICE");
  EXPECT_EQ(device.code, 1);
  EXPECT_THAT(device.errors, HasSubstr("RAILCCL_DEVICE=abacus"));
  const Ended graph = run(all_reduce(), {"-G", "1"});
  EXPECT_EQ(graph.code, 1);
  EXPECT_THAT(graph.errors, HasSubstr("these are host memory"));
  const Ended help = run(all_reduce(), {"-h"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.output, HasSubstr("--stepfactor"));
}

}  // namespace
}  // namespace railccl::perftest
