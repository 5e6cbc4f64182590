// Which congestion control the sockets of a TCP rail get.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <fstream>

#include "tests/transport/tcp_pair.h"
#include "transport/tcp/socket.h"

namespace railccl::testing_support {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string system_default() {
  std::ifstream file("/proc/sys/net/ipv4/tcp_congestion_control");
  std::string name;
  file >> name;
  return name;
}

Result<std::string> used_by_listener(const std::string& wanted) {
  TcpRailOptions options = test_options();
  options.congestion_control = wanted;
  RAILCCL_ASSIGN(const UniqueFd fd,
                 tcp::open_listener(options, loopback_config("127.0.0.1").address, ""));
  std::array<char, 16> name{};
  socklen_t size = name.size() - 1;
  if (getsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) != 0) {
    return system_error(errno, "TCP_CONGESTION");
  }
  return std::string(name.data());
}

std::string name_for(const std::string& wanted) {
  const auto used = used_by_listener(wanted);
  return used ? *used : std::string(used.error().message());
}

TEST(TcpCongestion, SystemsDefaultIsKeptButForBbr) {
  EXPECT_EQ(name_for("system"), system_default());
  if (system_default().starts_with("bbr")) {
    EXPECT_THAT(name_for("auto"), Not(StartsWith("bbr")));
  } else {
    EXPECT_EQ(name_for("auto"), system_default());
  }
}

TEST(TcpCongestion, NameIsUsed) { EXPECT_EQ(name_for("reno"), "reno"); }

TEST(TcpCongestion, UnknownNameIsAnErrorThatSaysWhereToLook) {
  TcpRailOptions options = test_options();
  options.congestion_control = "swift9";
  const auto rail = open_tcp_rail(loopback_config("127.0.0.1"), options);
  ASSERT_FALSE(rail);
  EXPECT_EQ(rail.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(std::string(rail.error().message()), HasSubstr("RAILCCL_SOCKET_CONGESTION=swift9"));
  EXPECT_THAT(std::string(rail.error().message()), HasSubstr("tcp_allowed_congestion_control"));
}

}  // namespace
}  // namespace railccl::testing_support
