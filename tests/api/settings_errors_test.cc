// Settings that cannot be served are refused when the library starts: each text says what, why and
// what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>

#include "include/railccl/railccl.h"
#include "tests/api/child_process.h"

namespace railccl::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Environment = std::map<std::string, std::string>;

std::string start_with(const Environment& environment) {
  return run_child(environment,
                   [] {
                     ncclUniqueId id;
                     if (ncclGetUniqueId(&id) == ncclSuccess) std::cout << "accepted";
                     std::cout << ncclGetLastError(nullptr);
                   })
      .output;
}

TEST(SettingsErrors, NameTheSettingAndWhatIsAllowed) {
  const std::vector<std::pair<Environment, std::string>> cases = {
      {{{"RAILCCL_RAILS", "nosuch"}}, "allowed is names of rails of this host, which has: lo"},
      {{{"RAILCCL_SOCKET_IFNAME", "nosuch"}}, "fits 'nosuch'; there are: "},
      {{{"RAILCCL_SOCKET_IFNAME", "nosuch"}}, "RAILCCL_SOCKET_IFNAME"},
      {{{"RAILCCL_TRANSPORT", "foo"}}, "allowed is auto, verbs, ucx or tcp"},
      {{{"NCCL_NET", "foo"}}, "allowed is IB (or verbs), Socket (or tcp), ucx"},
      {{{"NCCL_DEBUG", "bogus"}}, "environment NCCL_DEBUG: 'bogus' is not allowed"},
      {{{"RAILCCL_ALGO", "rong"}}, "\"rong\" is not an algorithm; known are bruck"},
      {{{"NCCL_BUFFSIZE", "12Q"}}, "allowed is a size from 4K to 1G"},
      {{{"RAILCCL_COMM_ID", "127.0.0.1"}}, "use host:port"},
      {{{"RAILCCL_CONF_FILE", "/no/such"}}, "there is no such file"},
      {{{"RAILCCL_TOPO_FILE", "/no/such"}}, "RAILCCL_TOPO_FILE"},
      {{{"RAILCCL_SCHEDULE_FILE", "/no/such"}}, "cannot read the schedule file /no/such"},
  };
  for (const auto& [environment, text] : cases) {
    EXPECT_THAT(start_with(environment), AllOf(HasSubstr(text), Not(HasSubstr("accepted"))));
  }
  EXPECT_THAT(
      start_with({{"NCCL_DMABUF_ENABLE", "0"}, {"NCCL_NET_GDR_LEVEL", "PHB"}}),
      AllOf(
          HasSubstr("without effect, since memory of GPUs goes to the network through the host's"),
          HasSubstr("NCCL_DMABUF_ENABLE"), HasSubstr("NCCL_NET_GDR_LEVEL"), HasSubstr("accepted")));
  EXPECT_THAT(start_with({{"RAILCCL_TRANSPORTT", "tcp"}}),
              AllOf(HasSubstr("did you mean RAILCCL_TRANSPORT?"), HasSubstr("accepted")));
}

TEST(SettingsErrors, AnAddressInUse) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const std::string where = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  EXPECT_THAT(start_with({{"NCCL_COMM_ID", where}}),
              AllOf(HasSubstr(where), HasSubstr("Address already in use"),
                    HasSubstr("Choose a port that no other program on that host uses")));
  close(listener);
}

}  // namespace
}  // namespace railccl::test
