// On machines that are described: hwloc's synthetic ones, with PCI devices put into their XML.
#include "src/core/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hwloc.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "src/core/rail_plan.h"

namespace railccl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string synthetic(const char* description) {
  hwloc_topology_t topology = nullptr;
  hwloc_topology_init(&topology);
  hwloc_topology_set_synthetic(topology, description);
  hwloc_topology_load(topology);
  char* xml = nullptr;
  int bytes = 0;
  hwloc_topology_export_xmlbuffer(topology, &xml, &bytes, 0);
  std::string text(xml);
  hwloc_free_xmlbuffer(topology, xml);
  hwloc_topology_destroy(topology);
  return text;
}

// Puts a NIC at `address` behind a bridge into the object whose opening tag has `owner`.
void put_nic(std::string& xml, const std::string& owner, const std::string& address, int gp_index) {
  const std::string bus = address.substr(5, 2);
  const std::string nic =
      "<object type=\"Bridge\" gp_index=\"" + std::to_string(gp_index) +
      "\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[" + bus + "-" + bus + "]\">" +
      "<object type=\"PCIDev\" gp_index=\"" + std::to_string(gp_index + 1) + "\" pci_busid=\"" +
      address + "\" pci_type=\"0200 [15b3:1017] [15b3:0008] 00\" pci_link_speed=\"15.75\"/>" +
      "</object>\n";
  const size_t tag = xml.find(owner);
  ASSERT_NE(tag, std::string::npos) << owner;
  // Among the children, in front of the end of the object: found by counting.
  size_t at = xml.find('>', tag) + 1;
  for (int depth = 1; depth > 0;) {
    const size_t open = xml.find("<object", at);
    const size_t close = xml.find("</object>", at);
    if (open < close) {
      const size_t end = xml.find('>', open);
      if (xml[end - 1] != '/') ++depth;
      at = end + 1;
    } else {
      if (--depth == 0)
        at = close;
      else
        at = close + 1;
    }
  }
  xml.insert(at, nic);
}

constexpr const char* kTwoPackages =
    "pack:2 numa:2 l3:1(size=16777216) core:4 l2:1(size=1048576) pu:2";

TEST(Topology, CountsWhatTheMachineHas) {
  const auto topology = Topology::from_xml(synthetic(kTwoPackages));
  ASSERT_TRUE(topology) << topology.error().message();
  const MachineShape& shape = topology->shape();
  EXPECT_EQ(shape.packages, 2);
  EXPECT_EQ(shape.numa_nodes, 4);
  EXPECT_EQ(shape.cores, 16);
  EXPECT_EQ(shape.threads, 32);
  EXPECT_THAT(shape.own_numa_nodes, ElementsAre(0, 1, 2, 3));
  ASSERT_EQ(shape.caches.size(), 2u);
  EXPECT_EQ(shape.caches[0].level, 2);
  EXPECT_EQ(shape.caches[0].cores, 1);
  EXPECT_EQ(shape.caches[1].bytes, 16777216u);
  EXPECT_EQ(shape.caches[1].cores, 4);
  EXPECT_EQ(shape.cache_bytes_per_core, 4u << 20);
  const auto pinned = Topology::from_xml(synthetic(kTwoPackages), "8-9");
  EXPECT_THAT(pinned->shape().own_numa_nodes, ElementsAre(1));
}

TEST(Topology, APrivateCacheMayExceedTheShareOfAShared) {
  const auto topology =
      Topology::from_xml(synthetic("pack:1 l3:1(size=8388608) core:8 l2:1(size=2097152) pu:1"));
  EXPECT_EQ(topology->shape().cache_bytes_per_core, 2u << 20);
  const auto without = Topology::from_xml(synthetic("pack:1 core:2 pu:1"));
  EXPECT_EQ(without->shape().cache_bytes_per_core, 1u << 20);
}

// A process on the first NUMA node of package 0.
TEST(Topology, KnowsHowFarEachNicIs) {
  std::string xml = synthetic(kTwoPackages);
  put_nic(xml, "<object type=\"Package\" os_index=\"1\"", "0000:81:00.0", 1001);
  put_nic(xml, "<object type=\"Package\" os_index=\"0\"", "0000:21:00.0", 1003);
  const auto topology = Topology::from_xml(xml, "0-3");
  ASSERT_TRUE(topology) << topology.error().message();
  const PciPlace far = topology->place_of("0000:81:00.0");
  EXPECT_TRUE(far.known);
  EXPECT_EQ(far.distance, PciDistance::kOtherPackage);
  const PciPlace near = topology->place_of("0000:21:00.0");
  EXPECT_TRUE(near.known);
  EXPECT_EQ(near.distance, PciDistance::kSameNuma);
  EXPECT_FALSE(topology->place_of("0000:99:00.0").known);
  EXPECT_FALSE(topology->place_of("").known);
}

TEST(Topology, TheFileIsWhatWasWritten) {
  const std::string path = testing::TempDir() + "railccl_topology_" + std::to_string(getpid());
  const auto load = [](const FixedSettingsSource::Map& values) {
    return Topology::create(*load_settings(FixedSettingsSource(values)));
  };
  std::ofstream(path) << synthetic(kTwoPackages);
  const auto read = load({{"NCCL_TOPO_FILE", path}, {"NCCL_TOPO_DUMP_FILE", path + ".again"}});
  ASSERT_TRUE(read) << read.error().message();
  const auto again = load({{"NCCL_TOPO_FILE", path + ".again"}});
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->shape().cores, 16);
  EXPECT_EQ(again->shape().cache_bytes_per_core, 4u << 20);
  std::ofstream(path) << "<nonsense/>";
  const auto bad = load({{"RAILCCL_TOPO_FILE", path}});
  ASSERT_FALSE(bad);
  EXPECT_THAT(std::string(bad.error().message()), HasSubstr("hwloc's XML format"));
  // NCCL's own is set by some machine images: not a reason not to start.
  std::ofstream(path) << "<system version=\"1\"></system>";
  EXPECT_TRUE(load({{"RAILCCL_TOPO_FILE", path}}));
  unlink(path.c_str());
  unlink((path + ".again").c_str());
  EXPECT_THAT(std::string(load({{"RAILCCL_TOPO_FILE", path}}).error().message()),
              HasSubstr("a file that can be read"));
}

TEST(Topology, OfThisMachine) {
  const auto topology = Topology::from_machine();
  ASSERT_TRUE(topology) << topology.error().message();
  EXPECT_GE(topology->shape().threads, 1);
  EXPECT_GE(topology->shape().cache_bytes_per_core, uint64_t{128} << 10);
  EXPECT_LE(topology->shape().cache_bytes_per_core, uint64_t{4} << 30);
}

RailSummary rail(uint8_t index, uint8_t distance) {
  return {.transport = TransportKind::kTcp, .index = index, .distance = distance};
}

std::vector<std::pair<int, int>> pairs_of(const std::vector<RailSummary>& mine,
                                          const std::vector<RailSummary>& theirs) {
  std::vector<std::pair<int, int>> pairs;
  for (const auto& pair : plan_pairs(mine, theirs, CrossRail::kAligned)) {
    pairs.emplace_back(pair.local_rail, pair.peer_rail);
  }
  return pairs;
}

// Which rail talks to which stays; the near ones come first, in the same order on both sides.
TEST(RailPlan, NearRailsComeFirst) {
  const std::vector<RailSummary> mine = {rail(0, 2), rail(1, 0), rail(2, 1)};
  const std::vector<RailSummary> theirs = {rail(0, 0), rail(1, 0), rail(2, 0)};
  using Pair = std::pair<int, int>;
  EXPECT_THAT(pairs_of(mine, theirs), ElementsAre(Pair(1, 1), Pair(2, 2), Pair(0, 0)));
  EXPECT_THAT(pairs_of(theirs, mine), ElementsAre(Pair(1, 1), Pair(2, 2), Pair(0, 0)));
}

}  // namespace
}  // namespace railccl
