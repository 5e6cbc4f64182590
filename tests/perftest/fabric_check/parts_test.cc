// Counters from a sysfs of the test's own, subnets, checked data, the command line, the reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "perftest/fabric_check/counters.h"
#include "perftest/fabric_check/data.h"
#include "perftest/fabric_check/options.h"
#include "perftest/fabric_check/report_html.h"
#include "perftest/fabric_check/report_json.h"
#include "perftest/fabric_check/report_text.h"
#include "perftest/fabric_check/subnet.h"
#include "tests/perftest/fabric_check/fabric_builder.h"

namespace railccl::perftest::fabric {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

class SysfsTest : public testing::Test {
 protected:
  SysfsTest() {
    std::string name = (fs::temp_directory_path() / "fabric_check_XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  ~SysfsTest() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    const fs::path file = fs::path(root_) / "sys/class" / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root_;
};

TEST_F(SysfsTest, AVerbsPortHasItsOwnCountersAndThoseOfItsInterface) {
  write("infiniband/mlx5_0/ports/1/counters/symbol_error", "3\n");
  write("infiniband/mlx5_0/ports/1/counters/port_xmit_data", "99\n");  // says nothing of health
  write("infiniband/mlx5_0/ports/1/hw_counters/np_cnp_sent", "8\n");
  write("infiniband/mlx5_0/ports/1/hw_counters/out_of_sequence", "N/A (no PMA)\n");
  write("infiniband/mlx5_0/ports/2/counters/symbol_error", "77\n");
  write("infiniband/mlx5_0/device/net/eth4/type", "1\n");
  write("net/eth4/statistics/rx_dropped", "5\n");
  write("net/eth5/statistics/rx_dropped", "6\n");
  EXPECT_THAT(read_counters(root_, {.name = "mlx5_0:1", .transport = "verbs"}),
              ElementsAre(Pair("eth4 rx_dropped", 5), Pair("mlx5_0/1 np_cnp_sent", 8),
                          Pair("mlx5_0/1 symbol_error", 3)));
}

TEST_F(SysfsTest, ATcpRailHasThoseOfItsInterface) {
  write("net/eth5/statistics/tx_errors", "2\n");
  EXPECT_THAT(read_counters(root_, {.name = "eth5", .transport = "tcp"}),
              ElementsAre(Pair("eth5 tx_errors", 2)));
  EXPECT_TRUE(read_counters(root_, {.name = "eth6", .transport = "tcp"}).empty());
}

TEST(Counters, OnlyWhatHasGrownIsShown) {
  const Counters before = {{"a symbol_error", 1}, {"a rx_dropped", 4}, {"a tx_errors", 9}};
  const Counters after = {
      {"a symbol_error", 3}, {"a rx_dropped", 4}, {"a tx_errors", 2}, {"a rx_errors", 1}};
  const auto changes = moved(2, 1, before, after);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].counter, "a symbol_error");
  EXPECT_EQ(changes[0].node, 2);
  EXPECT_EQ(changes[0].after - changes[0].before, 2u);
  EXPECT_THAT(changes[0].meaning, HasSubstr("cable"));
}

TEST(Subnet, Table) {
  const std::vector<InterfaceAddress> own = {
      {"10.1.2.3", 24}, {"10.9.0.1", 15}, {"fd00:1::5", 48}, {"fe80::1", 64}, {"192.168.0.7", 32}};
  const std::pair<const char*, const char*> rows[] = {
      {"10.1.2.3", "10.1.2.0/24"},
      {"::ffff:10.1.2.3", "10.1.2.0/24"},
      {"10.9.0.1", "10.8.0.0/15"},
      {"192.168.0.7", "192.168.0.7/32"},
      {"fd00:1::5", "fd00:1::/48"},
      {"2001:db8::1", "2001:db8::/64"},  // the GID of an InfiniBand port
      {"fe80::1", ""},
      {"fe80::1%eth0", ""},
      {"10.1.2.4", ""},  // not this host's
      {"mlx5_0", ""},
      {"", ""},
  };
  for (const auto& [address, subnet] : rows) EXPECT_EQ(subnet_of(address, own), subnet) << address;
}

TEST(Data, EveryWrongElementCountsAndOtherKeysAreOtherData) {
  std::vector<std::byte> data(100'000);
  const DataKey key{.sender = 3, .seed = 9};
  fill_data(key, data.data(), data.size());
  EXPECT_EQ(count_wrong(key, data.data(), data.size()), 0u);
  for (const size_t at : {0, 4097, 50'001, 99'999}) data[at] ^= std::byte{1};
  EXPECT_EQ(count_wrong(key, data.data(), data.size()), 4u);
  EXPECT_GT(count_wrong({.sender = 2, .seed = 9}, data.data(), data.size()), 24'900u);
  EXPECT_GT(count_wrong({.sender = 3, .seed = 8}, data.data(), data.size()), 24'900u);
}

TEST(Options, WhatIsGivenAndWhatIsWrong) {
  const auto parsed = parse_options({"--html", "a.html", "-J", "a.json", "-q", "--time-limit", "60",
                                     "--rounds", "3", "--no-drill"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->options.html_file, "a.html");
  EXPECT_EQ(parsed->options.json_file, "a.json");
  EXPECT_TRUE(parsed->options.quiet);
  EXPECT_EQ(parsed->options.time_limit_s, 60);
  EXPECT_EQ(parsed->options.rounds, 3);
  EXPECT_FALSE(parsed->options.drill);
  EXPECT_TRUE(parsed->options.collectives);
  EXPECT_THAT(*parse_options({"-h"})->help, HasSubstr("--time-limit"));
  for (const auto& [arguments, text] :
       std::initializer_list<std::pair<std::vector<std::string>, const char*>>{
           {{"--seconds", "0"}, "--seconds"},
           {{"--what"}, "--what"},
           {{"--virtual-nodes", "2"}, "--virtual-nodes needs --local"},
           {{"--local", "2", "--virtual-nodes", "4"},
            "--virtual-nodes 4 is more than --local 2"}}) {
    const auto wrong = parse_options(arguments);
    ASSERT_FALSE(wrong);
    EXPECT_THAT(wrong.error().message, HasSubstr(text));
  }
}

Fabric with_everything() {
  Fabric fabric = make_fabric(3, {1, 1});
  set_way(fabric.rails[1], 2, 0, 0.1);
  set_way(fabric.rails[1], 2, 1, 0.1);
  cut_way(fabric.rails[0], 0, 1);
  fabric.nodes[1].name = "a<b>&\"'";
  fabric.at_once = {{.rail = 0, .left_out = "why"}, {.rail = -1, .gbps = 5, .alone_gbps = 6}};
  fabric.collectives.push_back({.name = "all_reduce", .bytes = 64, .time_us = 5, .bus_gbps = 2});
  fabric.drills = {{.rail = 0, .operations = 30, .went_down = true, .came_back = true},
                   {.rail = 1, .left_out = "why not"}};
  fabric.counters.push_back({.node = 1, .counter = "eth0 rx_dropped", .before = 1, .after = 4});
  fabric.missing.push_back({.node = 2, .stage = "drill </script><!--", .why = "gone"});
  return fabric;
}

TEST(Report, TextNamesNodesRailsStagesAndTheVerdict) {
  const Fabric fabric = with_everything();
  const std::string text = report_text(fabric, judge(fabric, {}));
  for (const char* part :
       {"rail 1 (tcp eth1)", "0.1!", "none!", "left out: why", "eth0 rx_dropped +3", "all_reduce",
        "MISSING n2, stage 'drill", "verdict: incomplete (3 nodes, 2 rails"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(quiet_text(fabric, judge(fabric, {})),
              testing::AllOf(HasSubstr("verdict: incomplete"), Not(HasSubstr("all_reduce"))));
  const Fabric fine = make_fabric(3, {1});
  EXPECT_EQ(quiet_text(fine, judge(fine, {})), "");
  EXPECT_THAT(report_text(fine, judge(fine, {})), HasSubstr("verdict: pass (3 nodes, 1 rails)"));
}

TEST(Report, LargeFabricsHaveNoMatrixInTheText) {
  const Fabric fabric = make_fabric(17, {1});
  EXPECT_THAT(report_text(fabric, judge(fabric, {})), Not(HasSubstr("n16")));
}

TEST(Report, JsonHasEverything) {
  const Fabric fabric = with_everything();
  const auto json = report_json(fabric, judge(fabric, {}));
  EXPECT_EQ(json["format"], "railccl-fabric-report-1");
  EXPECT_EQ(json["verdict"], "incomplete");
  EXPECT_EQ(json["rails"][1]["matrix"][2][0]["gbps"], 0.1);
  EXPECT_EQ(json["rails"][0]["matrix"][0][1]["state"], "unreachable");
  EXPECT_TRUE(json["rails"][0]["matrix"][1][1].is_null());
  EXPECT_EQ(json["missing"][0]["node"], "n2");
  EXPECT_EQ(json["all_at_once"][1]["rail"], "all");
  EXPECT_EQ(json["counters"][0]["after"], 4);
  EXPECT_FALSE(json["findings"].empty());
}

TEST(Report, ThePageNeedsNothingElseAndNamesCannotBreakOut) {
  const Fabric fabric = with_everything();
  const std::string page = report_html(fabric, judge(fabric, {}));
  for (const char* outside : {"http://", "https://", " src=", "@import", "url("}) {
    size_t at = page.find(outside);
    // The namespace of SVG is a name, nothing that is loaded.
    while (at != std::string::npos && page.compare(at, 26, "http://www.w3.org/2000/svg") == 0) {
      at = page.find(outside, at + 1);
    }
    EXPECT_EQ(at, std::string::npos) << outside;
  }
  EXPECT_THAT(page, Not(HasSubstr("drill </script>")));
  EXPECT_THAT(page, Not(HasSubstr("a<b>")));
  const std::string mark = "<script id=\"data\" type=\"application/json\">";
  const size_t begin = page.find(mark) + mark.size();
  const auto data =
      nlohmann::ordered_json::parse(page.substr(begin, page.find("</script>", begin) - begin));
  EXPECT_EQ(data, report_json(fabric, judge(fabric, {})));
}

}  // namespace
}  // namespace railccl::perftest::fabric
