#include "src/base/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "src/base/setting_value.h"
#include "src/base/settings_file.h"
#include "src/base/settings_print.h"
#include "src/base/write_file.h"

namespace railccl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Map = FixedSettingsSource::Map;

Result<Settings> load(Map variables, Map files = {}) {
  return load_settings(FixedSettingsSource(std::move(variables), std::move(files)));
}

Settings loaded(Map variables, Map files = {}) {
  auto settings = load(std::move(variables), std::move(files));
  EXPECT_TRUE(settings) << settings.error().message();
  return settings.value_or(load({}).value());
}

std::string error_of(Map variables, Map files = {}) {
  const auto settings = load(std::move(variables), std::move(files));
  EXPECT_FALSE(settings);
  return settings ? "" : std::string(settings.error().message());
}

TEST(SettingsTable, EveryDefaultIsAllowedAndEveryRowIsComplete) {
  std::set<std::string_view> names;
  for (const SettingSpec& spec : settings_table()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name << " twice";
    EXPECT_FALSE(spec.help.empty()) << spec.name;
    EXPECT_TRUE(parse_setting(spec, spec.fallback)) << spec.name << " = " << spec.fallback;
    if (spec.type == SettingType::kChoice) {
      EXPECT_GE(choice_words(spec.choices).size(), 2u) << spec.name;
    }
    if (spec.type == SettingType::kInt || spec.type == SettingType::kBytes) {
      EXPECT_LT(spec.min, spec.max) << spec.name;
    }
  }
}

// The list in the contract with users: names that work as in NCCL.
TEST(SettingsTable, HasTheAliasesThatArePromised) {
  for (const char* name : {"IB_HCA",
                           "SOCKET_IFNAME",
                           "SOCKET_FAMILY",
                           "IB_GID_INDEX",
                           "IB_ADDR_FAMILY",
                           "IB_ROCE_VERSION_NUM",
                           "IB_TIMEOUT",
                           "IB_RETRY_CNT",
                           "IB_QPS_PER_CONNECTION",
                           "IB_TC",
                           "IB_SL",
                           "IB_PKEY",
                           "IB_DISABLE",
                           "IB_PCI_RELAXED_ORDERING",
                           "NET_GDR_LEVEL",
                           "DMABUF_ENABLE",
                           "CROSS_NIC",
                           "ALGO",
                           "BUFFSIZE",
                           "MIN_NCHANNELS",
                           "MAX_NCHANNELS",
                           "MIN_CTAS",
                           "MAX_CTAS",
                           "NTHREADS",
                           "DEBUG",
                           "DEBUG_SUBSYS",
                           "DEBUG_FILE",
                           "COMM_ID",
                           "COMM_BLOCKING",
                           "SHM_DISABLE",
                           "P2P_DISABLE",
                           "HOSTID",
                           "NET",
                           "TOPO_FILE",
                           "TOPO_DUMP_FILE"}) {
    const auto& table = settings_table();
    const auto found = std::find_if(table.begin(), table.end(),
                                    [&](const SettingSpec& spec) { return spec.name == name; });
    ASSERT_NE(found, table.end()) << name;
    EXPECT_EQ(found->nccl, NcclName::kShared) << name;
  }
}

// The enums of setting.h follow the words of the table.
TEST(SettingsTable, ChoicesHaveTheValuesOfTheirWords) {
  const Settings settings = loaded({{"RAILCCL_DEVICE", "cuda"},
                                    {"RAILCCL_TRANSPORT", "tcp"},
                                    {"RAILCCL_STRIPING", "equal"},
                                    {"RAILCCL_SOCKET_FAMILY", "AF_INET6"},
                                    {"RAILCCL_IB_ADDR_FAMILY", "AF_INET6"},
                                    {"RAILCCL_POLL", "sleep"},
                                    {"RAILCCL_TRACE_SIGNAL", "USR2"},
                                    {"RAILCCL_NET_GDR_LEVEL", "SYS"},
                                    {"RAILCCL_IB_PCI_RELAXED_ORDERING", "2"},
                                    {"RAILCCL_CROSS_NIC", "2"}});
  EXPECT_EQ(settings.get_choice<DeviceChoice>(Setting::kDevice), DeviceChoice::kCuda);
  EXPECT_EQ(settings.get_choice<TransportChoice>(Setting::kTransport), TransportChoice::kTcp);
  EXPECT_EQ(settings.get_choice<StripingChoice>(Setting::kStriping), StripingChoice::kEqual);
  EXPECT_EQ(settings.get_choice<FamilyChoice>(Setting::kSocketFamily), FamilyChoice::kInet6);
  EXPECT_EQ(settings.get_choice<IbFamilyChoice>(Setting::kIbAddrFamily), IbFamilyChoice::kInet6);
  EXPECT_EQ(settings.get_choice<PollChoice>(Setting::kPoll), PollChoice::kSleep);
  EXPECT_EQ(settings.get_choice<SignalChoice>(Setting::kTraceSignal), SignalChoice::kUsr2);
  EXPECT_EQ(settings.get_choice<GdrLevelChoice>(Setting::kNetGdrLevel), GdrLevelChoice::kSys);
  EXPECT_EQ(settings.get_choice<RelaxedOrderingChoice>(Setting::kIbPciRelaxedOrdering),
            RelaxedOrderingChoice::kAuto);
  EXPECT_EQ(settings.get_choice<CrossNicChoice>(Setting::kCrossNic), CrossNicChoice::kAvoid);
}

TEST(Settings, AreDefaultsWhereNothingIsSet) {
  const Settings settings = loaded({});
  EXPECT_EQ(settings.get_int(Setting::kRailTimeoutMs), 2000);
  EXPECT_EQ(settings.get_int(Setting::kLinkTimeoutS), 30);
  EXPECT_EQ(settings.get_int(Setting::kRankTimeoutS), 60);
  EXPECT_EQ(settings.get_int(Setting::kSilenceTimeoutS), 10);
  EXPECT_EQ(settings.get_bytes(Setting::kBuffsize), 16u << 20);
  EXPECT_FALSE(settings.get_bool(Setting::kCheck));
  EXPECT_EQ(settings.get_text(Setting::kTrace), "ring");
  EXPECT_EQ(settings.value(Setting::kTrace).origin, "default");
  EXPECT_FALSE(settings.is_set(Setting::kTrace));
  EXPECT_THAT(settings.warnings(), IsEmpty());
}

// Every place in its turn: each step takes the strongest away and expects the next.
TEST(Settings, ComeFromTheStrongestPlace) {
  Map variables = {{"RAILCCL_IB_TC", "1"},
                   {"NCCL_IB_TC", "2"},
                   {"RAILCCL_CONF_FILE", "/ours"},
                   {"NCCL_CONF_FILE", "/nccls"},
                   {"HOME", "/home/user"}};
  Map files = {{"/ours", "RAILCCL_IB_TC=3\nNCCL_IB_TC=99\n"},
               {"/home/user/.railccl.conf", "# one\n\nNCCL_IB_TC=98\nRAILCCL_IB_TC=4\n"},
               {"/etc/railccl.conf", "NCCL_IB_TC=5\n"},
               {"/nccls", "NCCL_IB_TC=6\n"},
               {"/etc/nccl.conf", "NCCL_IB_TC=8\n"},
               {"/home/user/.nccl.conf", "NCCL_IB_TC=7\n"}};
  const auto expect = [&](int64_t number, std::string_view origin) {
    const Settings settings = loaded(variables, files);
    EXPECT_EQ(settings.get_int(Setting::kIbTc), number);
    EXPECT_EQ(settings.value(Setting::kIbTc).origin, origin);
  };
  expect(1, "environment RAILCCL_IB_TC");
  variables.erase("RAILCCL_IB_TC");
  expect(2, "environment NCCL_IB_TC");
  variables["NCCL_IB_TC"] = "";  // empty counts as not set
  expect(3, "/ours:1");
  variables.erase("RAILCCL_CONF_FILE");
  expect(4, "/home/user/.railccl.conf:4");
  files.erase("/home/user/.railccl.conf");
  expect(5, "/etc/railccl.conf:1");
  files.erase("/etc/railccl.conf");
  expect(6, "/nccls:1");
  files["/nccls"] = "";  // NCCL does not look at ~/.nccl.conf when NCCL_CONF_FILE is set
  expect(8, "/etc/nccl.conf:1");
  variables.erase("NCCL_CONF_FILE");
  expect(7, "/home/user/.nccl.conf:1");
  files.clear();
  expect(0, "default");
}

TEST(Settings, NameVariableOriginValueAndWhatIsAllowedInAnError) {
  EXPECT_EQ(error_of({{"NCCL_IB_TIMEOUT", "soon"}}),
            "environment NCCL_IB_TIMEOUT: 'soon' is not allowed; allowed is a number from 1 to 31");
  EXPECT_EQ(
      error_of({{"HOME", "/h"}}, {{"/h/.railccl.conf", "\nRAILCCL_CHUNK_BYTES = 2T # big\n"}}),
      "RAILCCL_CHUNK_BYTES (/h/.railccl.conf:2): '2T' is not allowed; allowed is a size from "
      "0 to 1G, with K, M or G if you like");
  EXPECT_EQ(error_of({{"RAILCCL_POLL", "hard"}}),
            "environment RAILCCL_POLL: 'hard' is not allowed; allowed is spin, adaptive or sleep");
  EXPECT_EQ(load({{"RAILCCL_POLL", "hard"}}).error().code(), Code::kInvalidUsage);
}

TEST(Settings, LetUsersOfATextComplainTheSameWay) {
  const Settings settings = loaded({{"NCCL_DEBUG_SUBSYS", "NETT"}});
  const Status status = settings.bad_value(Setting::kDebugSubsys, "INIT, NET");
  EXPECT_EQ(status.message(),
            "RAILCCL_DEBUG_SUBSYS (environment NCCL_DEBUG_SUBSYS): 'NETT' is not allowed; allowed "
            "is INIT, NET");
}

TEST(Settings, WarnOfUnknownNamesWithTheNearest) {
  const Settings settings =
      loaded({{"RAILCCL_RANK_TIMEOUT", "5"}, {"RAILCCL_ZZZZZZZZZ", "1"}, {"HOME", "/h"}},
             {{"/h/.railccl.conf", "POLL=spin\n"}});
  EXPECT_THAT(settings.warnings(),
              ElementsAre("RAILCCL_RANK_TIMEOUT is no setting of RailCCL (environment "
                          "RAILCCL_RANK_TIMEOUT); did you mean RAILCCL_RANK_TIMEOUT_S?",
                          "RAILCCL_ZZZZZZZZZ is no setting of RailCCL (environment "
                          "RAILCCL_ZZZZZZZZZ); railccl_info --env lists all settings",
                          "POLL is no setting of RailCCL (/h/.railccl.conf:1); did you mean "
                          "RAILCCL_POLL?"));
}

TEST(Settings, TellWhichNcclVariablesHaveNoEffect) {
  const Settings settings = loaded({{"NCCL_PROTO", "LL"},
                                    {"NCCL_TRANSPORT", "tcp"},
                                    {"NCCL_DEBUG", "INFO"},
                                    {"NCCL_TESTS_DEVICE", "0"},
                                    {"RAILCCL_LAB_NODE", "0"},
                                    {"NCCL_CONF_FILE", "/c"}},
                                   {{"/c", "NCCL_PROTO=LL\nNCCL_NVLS_ENABLE=0\n"}});
  EXPECT_THAT(settings.without_effect(),
              ElementsAre("NCCL_NVLS_ENABLE", "NCCL_PROTO", "NCCL_TRANSPORT"));
  EXPECT_THAT(settings.warnings(), IsEmpty());
  EXPECT_EQ(settings.get_choice<TransportChoice>(Setting::kTransport), TransportChoice::kAuto);
}

TEST(Settings, RefuseFilesOfOursThatAreWrongAndWarnOfNccls) {
  EXPECT_EQ(error_of({{"RAILCCL_CONF_FILE", "/gone"}}),
            "RAILCCL_CONF_FILE names /gone, and there is no such file");
  EXPECT_EQ(error_of({{"RAILCCL_CONF_FILE", "/f"}}, {{"/f", "RAILCCL_CHECK=1\nnonsense\n"}}),
            "/f:2: 'nonsense' is no line of the form NAME=value");
  const Settings settings = loaded({{"NCCL_CONF_FILE", "/gone"}});
  EXPECT_THAT(settings.warnings(),
              ElementsAre("NCCL_CONF_FILE names /gone, and there is no such file"));
}

TEST(Settings, TakeTheFirstLineThatSetsANameAndWarnOfTheSecond) {
  const Settings settings =
      loaded({{"RAILCCL_CONF_FILE", "/f"}}, {{"/f", "RAILCCL_IB_TC=1\nRAILCCL_IB_TC=2\n"}});
  EXPECT_EQ(settings.get_int(Setting::kIbTc), 1);
  EXPECT_THAT(settings.warnings(), ElementsAre("/f:2: RAILCCL_IB_TC was already set at /f:1; this "
                                               "line has no effect"));
}

TEST(SettingsFile, SkipsCommentsAndKeepsHashesInValues) {
  const SettingsFile file =
      parse_settings_file("/f", "# all\r\n A = b#c # rest\r\n\r\nEMPTY=\n=x\nlast=1 2");
  ASSERT_EQ(file.lines.size(), 3u);
  EXPECT_EQ(file.lines[0].name, "A");
  EXPECT_EQ(file.lines[0].value, "b#c");
  EXPECT_EQ(file.lines[0].line, 2);
  EXPECT_EQ(file.lines[1].value, "");
  EXPECT_EQ(file.lines[2].value, "1 2");
  EXPECT_EQ(file.lines[2].line, 6);
  EXPECT_THAT(file.problems, ElementsAre("/f:5: '=x' is no line of the form NAME=value"));
}

TEST(SettingsPrint, ShowsEveryRowAndNoSecret) {
  const Settings settings = loaded({{"RAILCCL_JOB_SECRET", "do-not-show"}, {"NCCL_DEBUG", "info"}});
  const std::string text = settings_as_text(settings);
  const std::string markdown = settings_as_markdown();
  for (const SettingSpec& spec : settings_table()) {
    EXPECT_THAT(text, HasSubstr(fmt::format("  RAILCCL_{} = ", spec.name)));
    EXPECT_THAT(markdown, HasSubstr(fmt::format("| `RAILCCL_{}` |", spec.name)));
  }
  EXPECT_THAT(text, HasSubstr("RAILCCL_DEBUG = info  [environment NCCL_DEBUG]"));
  EXPECT_THAT(text, Not(HasSubstr("do-not-show")));
  EXPECT_EQ(changed_settings_as_text(settings),
            "RAILCCL_JOB_SECRET = (set)  [environment RAILCCL_JOB_SECRET]\n"
            "RAILCCL_DEBUG = info  [environment NCCL_DEBUG]\n");
}

TEST(SettingsPrint, IsWhatTheDocumentationSays) {
  const std::string page = std::string(RAILCCL_SOURCE_FOLDER) + "/docs/environment.md";
  if (process_settings_source().variable("RAILCCL_TESTS_WRITE_DOCS") == "1") {
    const Status status = write_file(page, settings_as_markdown());
    ASSERT_TRUE(status) << status.message();
  }
  const auto text = process_settings_source().file(page);
  ASSERT_TRUE(text && *text) << page;
  EXPECT_EQ(**text, settings_as_markdown())
      << "the table of settings has changed: run this test with RAILCCL_TESTS_WRITE_DOCS=1";
}

TEST(ProcessSettingsSource, ReadsEnvironmentAndFiles) {
  const SettingsSource& source = process_settings_source();
  EXPECT_TRUE(source.variable("PATH"));
  EXPECT_FALSE(source.variable("RAILCCL_TESTS_NOT_SET"));
  ASSERT_EQ(setenv("RAILCCL_TESTS_B", "2=3", 1), 0);
  ASSERT_EQ(setenv("RAILCCL_TESTS_A", "1", 1), 0);
  EXPECT_THAT(source.variables("RAILCCL_TESTS_"),
              ElementsAre(std::pair<std::string, std::string>("RAILCCL_TESTS_A", "1"),
                          std::pair<std::string, std::string>("RAILCCL_TESTS_B", "2=3")));
  const std::string path = testing::TempDir() + fmt::format("railccl_settings_{}", getpid());
  EXPECT_FALSE(source.file(path).value());
  std::ofstream(path) << "A=1\n";
  EXPECT_EQ(source.file(path).value(), "A=1\n");
  unlink(path.c_str());
  const auto folder = source.file(testing::TempDir());
  ASSERT_FALSE(folder);
  EXPECT_THAT(std::string(folder.error().message()), HasSubstr("cannot read"));
}

}  // namespace
}  // namespace railccl
