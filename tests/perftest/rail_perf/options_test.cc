#include "perftest/rail_perf/options.h"

#include <gmock/gmock.h>

namespace railccl::perftest::railperf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

RailPerfOptions parsed(const std::vector<std::string>& arguments) {
  const auto result = parse_options(arguments);
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? result->options : RailPerfOptions{};
}

std::string refused(const std::vector<std::string>& arguments) {
  const auto result = parse_options(arguments);
  EXPECT_FALSE(result);
  if (result) return "";
  EXPECT_EQ(result.error().exit, Exit::kUsage);
  return result.error().message;
}

TEST(RailPerfOptions, WithoutArgumentsEverythingIsMeasuredForATime) {
  const RailPerfOptions options = parsed({});
  EXPECT_THAT(size_sequence(options.sizes), ElementsAre(8, 64, 512, 4096, 32768, 262144, 2097152));
  EXPECT_EQ(options.iterations, 0u);
  EXPECT_GT(options.seconds, 0);
  EXPECT_TRUE(options.measure.bandwidth && options.measure.bidirectional);
  EXPECT_TRUE(options.measure.latency && options.measure.rate);
  EXPECT_TRUE(options.rails.each && options.rails.together);
}

TEST(RailPerfOptions, LettersOfPerftest) {
  const RailPerfOptions options = parsed({"-b", "1K", "-e", "1M", "-f", "4", "-n", "7", "-w", "3",
                                          "--window", "16", "-J", "out.json", "--poll", "spin"});
  EXPECT_THAT(size_sequence(options.sizes), ElementsAre(1024, 4096, 16384, 65536, 262144, 1048576));
  EXPECT_EQ(options.iterations, 7u);
  EXPECT_EQ(options.warmup, 3u);
  EXPECT_EQ(window_of(options, 1024), 16u);
  EXPECT_EQ(options.json_file, "out.json");
  EXPECT_EQ(options.poll, "spin");
  EXPECT_EQ(parsed({"-D", "2.5"}).seconds, 2.5);
}

TEST(RailPerfOptions, WhatIsNamedIsAllThatIsMeasured) {
  const Measurements measure = parsed({"--latency", "--rate"}).measure;
  EXPECT_TRUE(measure.latency && measure.rate);
  EXPECT_FALSE(measure.bandwidth || measure.bidirectional);
}

TEST(RailPerfOptions, RailsEachTogetherOrByName) {
  const RailChoice each = parsed({"-x", "each"}).rails;
  EXPECT_TRUE(each.each && !each.together && each.names.empty());
  const RailChoice all = parsed({"--rails", "all"}).rails;
  EXPECT_TRUE(!all.each && all.together && all.names.empty());
  const RailChoice two = parsed({"-x", "eth0,eth1"}).rails;
  EXPECT_TRUE(two.each && two.together);
  EXPECT_THAT(two.names, ElementsAre("eth0", "eth1"));
  EXPECT_FALSE(parsed({"-x", "eth0"}).rails.together);
}

TEST(RailPerfOptions, WindowBySizeIsBoundedInPutsAndBytes) {
  const RailPerfOptions options = parsed({"-e", "64M"});
  EXPECT_EQ(window_of(options, 8), 128u);
  EXPECT_EQ(window_of(options, 32768), 128u);
  EXPECT_EQ(window_of(options, 1 << 20), 4u);
  EXPECT_EQ(window_of(options, 64 << 20), 2u);
  EXPECT_EQ(area_bytes(options), 2u * (16u << 20));  // 16M is the largest of 8 * 8^k
}

TEST(RailPerfOptions, WrongOnesAreNamed) {
  EXPECT_THAT(refused({"-b", "x"}), HasSubstr("-b 'x' is not a size"));
  EXPECT_THAT(refused({"-b", "0"}), HasSubstr("-b"));
  EXPECT_THAT(refused({"-b", "2M", "-e", "1M"}), HasSubstr("larger than"));
  EXPECT_THAT(refused({"-n", "5", "-D", "1"}), HasSubstr("--iters excludes --duration"));
  EXPECT_THAT(refused({"-n", "0"}), HasSubstr("--iters"));
  EXPECT_THAT(refused({"-x", "eth0,,eth1"}), HasSubstr("-x"));
  EXPECT_THAT(refused({"--pair", "1"}), HasSubstr("--pair"));
  EXPECT_THAT(refused({"--pair", "a,a"}), HasSubstr("different"));
  EXPECT_THAT(refused({"-J", "out.txt"}), HasSubstr(".json"));
  EXPECT_THAT(refused({"--poll", "always"}), HasSubstr("--poll"));
  EXPECT_THAT(refused({"--local", "2"}), HasSubstr("--virtual-nodes"));
  EXPECT_THAT(refused({"--local", "2", "--virtual-nodes", "3"}), HasSubstr("more than"));
  EXPECT_THAT(refused({"eth0"}), HasSubstr("eth0"));
}

TEST(RailPerfOptions, HelpIsNoError) {
  const auto result = parse_options({"-h"});
  ASSERT_TRUE(result && result->help);
  EXPECT_THAT(*result->help, HasSubstr("--bidirectional"));
}

}  // namespace
}  // namespace railccl::perftest::railperf
