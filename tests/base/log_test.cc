#include "src/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "src/base/path_pattern.h"
#include "src/base/settings.h"

namespace railccl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

constexpr uint32_t bit(Subsys subsys) { return static_cast<uint32_t>(subsys); }

struct Captured {
  std::vector<std::string> lines;
  LogCapture capture;
  Captured(LogLevel level, uint32_t subsystems)
      : capture(level, subsystems,
                [this](LogLevel, std::string_view line) { lines.emplace_back(line); }) {}
};

TEST(Log, HasThePrefixOfNccl) {
  Captured log(LogLevel::kInfo, kAllSubsystems);
  RAILCCL_WARN(Subsys::kNet, "rail {} is {}", "eth0", "down");
  {
    const LogRank rank(3);
    RAILCCL_INFO(Subsys::kNet, "hello");
    const LogRank inner(4);
    RAILCCL_INFO(Subsys::kNet, "inner");
  }
  RAILCCL_INFO(Subsys::kNet, "after");
  ASSERT_EQ(log.lines.size(), 4u);
  const std::string where = fmt::format("{}:{}:{} ", host_name(), getpid(), gettid());
  EXPECT_EQ(log.lines[0], where + "[-] RAILCCL WARN rail eth0 is down");
  EXPECT_EQ(log.lines[1], where + "[3] RAILCCL INFO hello");
  EXPECT_EQ(log.lines[2], where + "[4] RAILCCL INFO inner");
  EXPECT_EQ(log.lines[3], where + "[-] RAILCCL INFO after");
}

TEST(Log, EvaluatesNothingThatIsNotPrinted) {
  Captured log(LogLevel::kWarn, kAllSubsystems);
  int evaluated = 0;
  RAILCCL_INFO(Subsys::kNet, "{}", ++evaluated);
  RAILCCL_TRACE_LOG(Subsys::kNet, "{}", ++evaluated);
  EXPECT_EQ(evaluated, 0);
  RAILCCL_WARN(Subsys::kNet, "{}", ++evaluated);
  EXPECT_EQ(evaluated, 1);
  EXPECT_EQ(log.lines.size(), 1u);
}

TEST(Log, FiltersBySubsystemButNeverWarnings) {
  Captured log(LogLevel::kTrace, bit(Subsys::kNet));
  RAILCCL_INFO(Subsys::kNet, "a");
  RAILCCL_INFO(Subsys::kInit, "b");
  RAILCCL_TRACE_LOG(Subsys::kNet, "c");
  RAILCCL_TRACE_LOG(Subsys::kInit, "d");
  RAILCCL_WARN(Subsys::kInit, "e");
  EXPECT_THAT(log.lines,
              ElementsAre(HasSubstr("INFO a"), HasSubstr("TRACE c"), HasSubstr("WARN e")));
}

TEST(Log, SaysNothingAtLevelNone) {
  Captured log(LogLevel::kNone, kAllSubsystems);
  RAILCCL_WARN(Subsys::kInit, "e");
  EXPECT_TRUE(log.lines.empty());
}

TEST(Log, KeepsALineOneLineWhateverIsInIt) {
  Captured log(LogLevel::kWarn, 0);
  RAILCCL_WARN(Subsys::kNet, "{}", "a\nhost:1:1 [0] RAILCCL WARN forged\x1b[2J");
  ASSERT_EQ(log.lines.size(), 1u);
  EXPECT_EQ(log.lines[0].find('\n'), std::string::npos);
  EXPECT_EQ(log.lines[0].find('\x1b'), std::string::npos);
}

TEST(Log, WarnsOncePerKeyAndBoundsTheKeys) {
  Captured log(LogLevel::kWarn, 0);
  const auto warn = [](const std::string& key) {
    RAILCCL_WARN_ONCE(Subsys::kNet, key, "stranger {}", key);
  };
  warn("10.0.0.1");
  warn("10.0.0.1");
  warn("10.0.0.2");
  EXPECT_THAT(log.lines,
              ElementsAre(HasSubstr("stranger 10.0.0.1"), HasSubstr("stranger 10.0.0.2")));
  for (int i = 0; i < 5000; ++i) warn(fmt::format("flood {}", i));
  EXPECT_LE(log.lines.size(), 1024u);
  EXPECT_GT(log.lines.size(), 500u);
}

TEST(Log, ParsesSubsystemsAsNcclDoes) {
  EXPECT_EQ(parse_subsystems("INIT,net"), bit(Subsys::kInit) | bit(Subsys::kNet));
  EXPECT_EQ(parse_subsystems("ALL"), kAllSubsystems);
  EXPECT_EQ(parse_subsystems("^NET,COLL"),
            kAllSubsystems & ~(bit(Subsys::kNet) | bit(Subsys::kColl)));
  EXPECT_EQ(parse_subsystems(" INIT , NVLS ,"), bit(Subsys::kInit));
  EXPECT_EQ(parse_subsystems(""), 0u);
  const auto wrong = parse_subsystems("INIT,NETT");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(std::string(wrong.error().message()), HasSubstr("unknown log subsystem 'NETT'"));
}

// What a process of its own prints to its standard output, standard error and log file.
struct Printed {
  std::string out;
  std::string err;
  std::string file;
  int exit_code = -1;
};

std::string read_and_remove(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  unlink(path.c_str());
  return text.str();
}

Printed print_with(FixedSettingsSource::Map variables) {
  static int run = 0;
  const std::string base = fmt::format("{}/railccl_log_{}_{}", testing::TempDir(), getpid(), ++run);
  variables.emplace("RAILCCL_DEBUG_FILE", base + "%%.%p");
  if (variables["RAILCCL_DEBUG_FILE"].empty()) variables.erase("RAILCCL_DEBUG_FILE");
  const Settings settings = load_settings(FixedSettingsSource(std::move(variables))).value();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (!std::freopen((base + ".out").c_str(), "w", stdout)) _exit(10);
    if (!std::freopen((base + ".err").c_str(), "w", stderr)) _exit(11);
    const Status status = configure_log(settings);
    if (!status) {
      std::fputs(std::string(status.message()).c_str(), stderr);
      std::fflush(nullptr);
      _exit(2);
    }
    RAILCCL_WARN(Subsys::kNet, "a warning");
    RAILCCL_INFO(Subsys::kNet, "an information");
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {read_and_remove(base + ".out"), read_and_remove(base + ".err"),
          read_and_remove(fmt::format("{}%.{}", base, child)), WEXITSTATUS(status)};
}

TEST(LogFiles, WarningsGoToStderrAndTheRestToStdout) {
  const Printed printed = print_with(
      {{"NCCL_DEBUG", "INFO"}, {"NCCL_DEBUG_SUBSYS", "NET"}, {"RAILCCL_DEBUG_FILE", ""}});
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_THAT(printed.out, MatchesRegex(".* \\[-\\] RAILCCL INFO an information\n"));
  EXPECT_THAT(printed.err, MatchesRegex(".* \\[-\\] RAILCCL WARN a warning\n"));
}

TEST(LogFiles, TheFileTakesAllWithItsNameExpanded) {
  const Printed printed = print_with({{"NCCL_DEBUG", "INFO"}, {"NCCL_DEBUG_SUBSYS", "NET,ENV"}});
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_EQ(printed.out, "");
  EXPECT_EQ(printed.err, "");
  EXPECT_THAT(printed.file, HasSubstr("RAILCCL_DEBUG = info  [environment NCCL_DEBUG]"));
  EXPECT_THAT(printed.file, HasSubstr("RAILCCL INFO an information\n"));
  EXPECT_THAT(printed.file, HasSubstr("RAILCCL WARN a warning\n"));
}

TEST(LogFiles, OnlyWarningsByDefaultAndThoseOfTheSettings) {
  const Printed printed = print_with({{"RAILCCL_DEBUG_FILE", ""}, {"RAILCCL_POLLL", "1"}});
  EXPECT_EQ(printed.out, "");
  EXPECT_THAT(printed.err, HasSubstr("did you mean RAILCCL_POLL?"));
  EXPECT_THAT(printed.err, HasSubstr("a warning"));
}

TEST(LogFiles, AnImpossibleFileOrSubsystemIsAnError) {
  const Printed file = print_with({{"RAILCCL_DEBUG_FILE", "/proc/none/x"}});
  EXPECT_EQ(file.exit_code, 2);
  EXPECT_THAT(file.err, HasSubstr("RAILCCL_DEBUG_FILE (environment RAILCCL_DEBUG_FILE): cannot "
                                  "write /proc/none/x"));
  const Printed subsystem = print_with({{"NCCL_DEBUG_SUBSYS", "NETT"}});
  EXPECT_EQ(subsystem.exit_code, 2);
  EXPECT_THAT(subsystem.err, HasSubstr("'NETT' is not allowed; allowed is [^]name,... of INIT,"));
}

}  // namespace
}  // namespace railccl
