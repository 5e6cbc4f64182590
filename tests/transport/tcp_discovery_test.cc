// Which interfaces become rails, on described machines; and what is read from this one.
#include <gmock/gmock.h>
#include <netinet/in.h>

#include <filesystem>
#include <fstream>

#include "transport/tcp/interfaces.h"
#include "transport/tcp/rail_selection.h"

namespace railccl::tcp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

NetworkInterface make_interface(const std::string& name, const std::vector<std::string>& addresses,
                                bool up = true) {
  NetworkInterface interface { .name = name, .up = up, .loopback = name == "lo" };
  for (const std::string& text : addresses) {
    const auto address = net::SocketAddress::parse(text);
    EXPECT_TRUE(address) << text;
    interface.addresses.push_back({*address, address->family() == AF_INET ? 24 : 64});
  }
  return interface;
}

std::vector<NetworkInterface> machine() {
  std::vector<NetworkInterface> all{
      make_interface("lo", {"127.0.0.1", "::1"}),
      make_interface("eth0", {"10.0.0.1", "fd00::1"}),
      make_interface("eth1", {"fe80::5", "fd01::1", "10.0.1.1"}),
      make_interface("eth10", {"10.0.10.1"}),
      make_interface("ib0", {"10.1.0.1"}, /*up=*/false),
      make_interface("bare0", {}),
      make_interface("docker0", {"172.17.0.1"}),
      make_interface("virbr0", {"192.168.122.1"}),
  };
  all[1].pci_address = "0000:41:00.0";
  all[1].bytes_per_second = 12'500'000'000;
  all[1].numa_node = 1;
  all[2].pci_address = "0000:41:00.1";
  return all;
}

std::vector<std::string> names_of(const TcpDiscovery& discovery) {
  std::vector<std::string> names;
  for (const TcpRailConfig& rail : discovery.rails) names.push_back(rail.info.name);
  return names;
}

std::vector<std::string> select_names(const std::string& spec, int family = 0) {
  const auto found = select_rails({.interface_spec = spec, .family = family}, machine());
  EXPECT_TRUE(found) << found.error().message();
  return found ? names_of(*found) : std::vector<std::string>{};
}

std::string select_error(const std::string& spec, int family = 0) {
  const auto found = select_rails({.interface_spec = spec, .family = family}, machine());
  EXPECT_FALSE(found) << "'" << spec << "' was accepted";
  return found ? "" : std::string(found.error().message());
}

TEST(RailSelection, DefaultLeavesOutVirtualAndUnusableInterfaces) {
  EXPECT_THAT(select_names(""), ElementsAre("eth0", "eth1", "eth10"));
}

TEST(RailSelection, LoopbackAloneIsARail) {
  const std::vector<NetworkInterface> only{make_interface("lo", {"127.0.0.1"}),
                                           make_interface("docker0", {"172.17.0.1"})};
  const auto found = select_rails({}, only);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_THAT(names_of(*found), ElementsAre("lo"));
}

TEST(RailSelection, LinkLocalAddressesCountOnlyWhenThereIsNothingElse) {
  const auto one = make_interface("eth0", {"fe80::1"});
  const auto other = make_interface("eth1", {"10.0.0.1"});
  EXPECT_THAT(names_of(*select_rails({}, std::vector{one, other})), ElementsAre("eth1"));
  EXPECT_THAT(names_of(*select_rails({}, std::vector{one})), ElementsAre("eth0"));
}

TEST(RailSelection, ItemsArePrefixesInTheUsersOrder) {
  EXPECT_THAT(select_names("eth1,eth0"), ElementsAre("eth1", "eth10", "eth0"));
  EXPECT_THAT(select_names("eth"), ElementsAre("eth0", "eth1", "eth10"));
  EXPECT_THAT(select_names("eth,eth0"), ElementsAre("eth0", "eth1", "eth10"));
}

TEST(RailSelection, EqualsMeansWholeNames) {
  EXPECT_THAT(select_names("=eth1"), ElementsAre("eth1"));
  EXPECT_THAT(select_names("=eth1,eth0"), ElementsAre("eth1", "eth0"));
  EXPECT_THAT(select_names("docker0,=eth1"), ElementsAre("docker0", "eth1"));
}

TEST(RailSelection, CaretMeansAllBut) {
  EXPECT_THAT(select_names("^eth1"), ElementsAre("eth0"));
  EXPECT_THAT(select_names("^=eth1"), ElementsAre("eth0", "eth10"));
  EXPECT_THAT(select_names("^eth"), ElementsAre("lo"));
}

TEST(RailSelection, VirtualInterfacesServeWhenAskedFor) {
  EXPECT_THAT(select_names("docker"), ElementsAre("docker0"));
  EXPECT_THAT(select_names("lo"), ElementsAre("lo"));
}

TEST(RailSelection, SeveralRailsOnLoopback) {
  const auto found = select_rails({.interface_spec = "lo,lo@127.0.0.2,lo@127.0.0.3"}, machine());
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_THAT(names_of(*found), ElementsAre("lo", "lo@127.0.0.2", "lo@127.0.0.3"));
  EXPECT_EQ(found->rails[1].address.ip_text(), "127.0.0.2");
  EXPECT_EQ(found->rails[1].interface_name, "lo");
  EXPECT_THAT(found->warnings, IsEmpty());
}

TEST(RailSelection, AnAddressMustBelongToItsInterface) {
  EXPECT_THAT(select_names("eth1@fd01::1"), ElementsAre("eth1@fd01::1"));
  EXPECT_THAT(select_error("eth0@10.9.9.9"), HasSubstr("eth0@10.9.9.9"));
  EXPECT_THAT(select_error("eth0@nonsense"), HasSubstr("nonsense"));
}

TEST(RailSelection, FamilyChoosesTheAddress) {
  const auto any = select_rails({.interface_spec = "=eth1"}, machine());
  const auto six = select_rails({.interface_spec = "=eth1", .family = AF_INET6}, machine());
  ASSERT_TRUE(any && six);
  EXPECT_EQ(any->rails[0].info.address, "10.0.1.1");
  EXPECT_EQ(six->rails[0].info.address, "fd01::1");
  EXPECT_THAT(select_names("", AF_INET6), ElementsAre("eth0", "eth1"));
}

TEST(RailSelection, WhatIsNamedIsWaitedForWhenItIsDown) {
  EXPECT_THAT(select_names("=ib0,eth0"), ElementsAre("ib0", "eth0"));
  EXPECT_THAT(select_names("ib,eth0"), ElementsAre("eth0")) << "a prefix names nothing";
  for (const std::string spec : {"", "eth,ib", "^docker"}) {
    const auto found =
        select_rails({.interface_spec = spec, .expected = {"eth0", "ib0"}}, machine());
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_THAT(names_of(*found), testing::IsSupersetOf({"eth0", "ib0"})) << spec;
    EXPECT_THAT(found->warnings, testing::Contains(HasSubstr("interface ib0 is down; rail ib0")));
  }
}

TEST(RailSelection, ErrorsSayWhatThereIs) {
  for (const std::string spec : {"=eth7", "nothing", "eth7@10.0.0.1"}) {
    EXPECT_THAT(select_error(spec), HasSubstr("eth10 (10.0.10.1)")) << spec;
    EXPECT_THAT(select_error(spec), HasSubstr("ib0 (down)")) << spec;
    EXPECT_THAT(select_error(spec), HasSubstr("bare0 (no address)")) << spec;
  }
  EXPECT_THAT(select_error("=ib0"), HasSubstr("ib0 (down)")) << "nothing else is there";
  EXPECT_THAT(select_error("=bare0"), HasSubstr("no such address"));
  EXPECT_THAT(select_error("=eth10", AF_INET6), HasSubstr("IPv6"));
  EXPECT_THAT(select_error("ib"), HasSubstr("'ib'"));
}

TEST(RailSelection, DamagedWordsAreRefused) {
  for (const std::string spec :
       {"eth0,,eth1", ",", "^", "=", "eth0,", "@10.0.0.1", "^eth0@10.0.0.1"}) {
    EXPECT_NE(select_error(spec), "") << spec;
  }
  EXPECT_FALSE(select_rails({.family = 77}, machine()));
}

TEST(RailSelection, APrefixThatMatchesNothingIsAWarningWhenOthersMatch) {
  const auto found = select_rails({.interface_spec = "mlx,eth0"}, machine());
  ASSERT_TRUE(found);
  EXPECT_THAT(names_of(*found), ElementsAre("eth0"));
  EXPECT_THAT(found->warnings, ElementsAre(HasSubstr("'mlx'")));
}

TEST(RailSelection, TheDescriptionOfARailIsComplete) {
  const auto found = select_rails({.interface_spec = "eth"}, machine());
  ASSERT_TRUE(found);
  const RailInfo& info = found->rails[0].info;
  EXPECT_EQ(info.transport, TransportKind::kTcp);
  EXPECT_EQ(info.bytes_per_second, 12'500'000'000U);
  EXPECT_EQ(info.numa_node, 1);
  EXPECT_EQ(info.pci_address, "0000:41:00.0");
  EXPECT_EQ(info.address, "10.0.0.1");
  EXPECT_EQ(info.memory_kinds, static_cast<uint32_t>(MemoryKind::kHost));
  EXPECT_TRUE(info.collects_puts);
  EXPECT_EQ(found->rails[0].info.adapter, found->rails[1].info.adapter) << "two ports of one card";
  EXPECT_EQ(found->rails[2].info.adapter, "");
}

TEST(RailSelection, RailsInOneSubnetAreReported) {
  const std::vector<NetworkInterface> same{make_interface("eth0", {"10.0.0.1"}),
                                           make_interface("eth1", {"10.0.0.2"})};
  const auto found = select_rails({}, same);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rails.size(), 2U);
  EXPECT_THAT(found->warnings, ElementsAre(HasSubstr("one subnet")));
}

TEST(SocketAddressValue, KnowsSubnets) {
  const auto parse = [](const char* text) { return *net::SocketAddress::parse(text); };
  EXPECT_TRUE(parse("10.0.0.1").same_subnet(parse("10.0.0.200"), 24));
  EXPECT_FALSE(parse("10.0.0.1").same_subnet(parse("10.0.1.1"), 24));
  EXPECT_TRUE(parse("10.0.0.1").same_subnet(parse("10.0.1.1"), 23));
  EXPECT_FALSE(parse("10.0.0.1").same_subnet(parse("10.0.0.2"), 32));
  EXPECT_FALSE(parse("10.0.0.1").same_subnet(parse("fd00::1"), 0));
  EXPECT_EQ(parse("::1").with_port(80).to_string(), "[::1]:80");
  EXPECT_EQ(parse("127.0.0.1").with_port(80).to_string(), "127.0.0.1:80");
  EXPECT_FALSE(net::SocketAddress::parse("localhost"));
}

TEST(ReadInterfaces, FindsLoopback) {
  const auto found = read_interfaces("/sys");
  ASSERT_TRUE(found) << found.error().message();
  const auto lo = std::ranges::find(*found, "lo", &NetworkInterface::name);
  ASSERT_NE(lo, found->end());
  EXPECT_TRUE(lo->loopback);
  EXPECT_EQ(lo->bytes_per_second, 0U);
}

// sysfs as the kernel lays it out, for an interface that this machine has.
TEST(ReadInterfaces, ReadsSpeedAndPlaceFromSysfs) {
  namespace fs = std::filesystem;
  const fs::path root = fs::path(testing::TempDir()) / "railccl_sysfs";
  const fs::path pci = root / "devices/pci0000:40/0000:41:00.1";
  fs::create_directories(pci / "virtio3");
  fs::create_directories(root / "class/net/lo");
  fs::create_directories(root / "bus/pci/devices");
  fs::create_directory_symlink(pci / "virtio3", root / "class/net/lo/device");
  fs::create_directory_symlink(pci, root / "bus/pci/devices/0000:41:00.1");
  std::ofstream(root / "class/net/lo/speed") << "100000\n";
  std::ofstream(pci / "numa_node") << "1\n";
  const auto found = read_interfaces(root);
  std::ofstream(root / "class/net/lo/speed") << "-1\n";
  const auto unknown_speed = read_interfaces(root);
  fs::remove_all(root);
  ASSERT_TRUE(found && unknown_speed);
  const auto lo = std::ranges::find(*found, "lo", &NetworkInterface::name);
  ASSERT_NE(lo, found->end());
  EXPECT_EQ(lo->bytes_per_second, 12'500'000'000U);
  EXPECT_EQ(lo->pci_address, "0000:41:00.1");
  EXPECT_EQ(lo->numa_node, 1);
  EXPECT_EQ(std::ranges::find(*unknown_speed, "lo", &NetworkInterface::name)->bytes_per_second, 0U);
}

}  // namespace
}  // namespace railccl::tcp
