// Which of UCX's settings a rail sets: UCX has renamed some of them, ignores names that it does not
// know but for a warning, and from 1.21 on refuses them.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "transport/ucx/ucx_context.h"

namespace railccl::ucx {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

// A UCX that notes its settings and has no transport.
unsigned g_minor = 0;
std::vector<std::string> g_settings;

UcxApi recording_api() {
  UcxApi api;
  api.get_version = [](unsigned* major, unsigned* minor, unsigned* release) {
    *major = 1;
    *minor = g_minor;
    *release = 0;
  };
  api.config_read = [](const char*, const char*, ucp_config_t** config) {
    *config = nullptr;
    return UCS_OK;
  };
  api.config_release = [](ucp_config_t*) {};
  api.config_modify = [](ucp_config_t*, const char* name, const char* value) {
    g_settings.push_back(std::string(name) + "=" + value);
    return UCS_OK;
  };
  api.init_version = [](unsigned, unsigned, const ucp_params_t*, const ucp_config_t*,
                        ucp_context_h*) { return UCS_ERR_NO_DEVICE; };
  api.status_string = [](ucs_status_t) { return "no such device"; };
  return api;
}

std::vector<std::string> settings_of(unsigned minor, const UcxRailConfig& config) {
  static const UcxApi api = recording_api();
  g_minor = minor;
  g_settings.clear();
  const auto opened = UcxContext::open(api, config, {});
  EXPECT_THAT(std::string(opened ? "" : opened.error().message()), HasSubstr(config.device));
  return g_settings;
}

TEST(UcxSettings, ConnectOverTcpWithoutWaiting) {
  const UcxRailConfig config{.device = "eth0"};
  for (const unsigned minor : {13, 16}) {
    EXPECT_THAT(settings_of(minor, config),
                AllOf(Contains("CONN_NB=y"), Contains("NET_DEVICES=eth0")));
  }
  for (const unsigned minor : {17, 22}) {
    EXPECT_THAT(settings_of(minor, config),
                AllOf(Contains("TCP_CONN_NB=y"), Not(Contains("CONN_NB=y"))));
  }
}

TEST(UcxSettings, HaveNoCacheOfRegistrations) {
  const UcxRailConfig config{.device = "rxe0:1", .rdma = true};
  EXPECT_THAT(settings_of(13, config),
              AllOf(Contains("REG_METHODS=direct"), Not(Contains("RCACHE_ENABLE=n"))));
  EXPECT_THAT(settings_of(15, config),
              AllOf(Contains("REG_METHODS=direct"), Contains("RCACHE_ENABLE=n")));
  EXPECT_THAT(settings_of(16, config),
              AllOf(Not(Contains("REG_METHODS=direct")), Contains("RCACHE_ENABLE=n")));
}

TEST(UcxSettings, LetUdThroughWhereItsCheckOfAddressesCannotWork) {
  EXPECT_THAT(settings_of(13, {.device = "rxe0:1", .rdma = true}), Contains("UD_ETH_DGID_CHECK=n"));
}

TEST(UcxSettings, MakeNoLaneForKeepalive) {
  EXPECT_THAT(settings_of(13, {.device = "eth0"}), Contains("KEEPALIVE_INTERVAL=inf"));
  EXPECT_THAT(settings_of(13, {.device = "rxe0:1", .rdma = true}),
              Contains("KEEPALIVE_INTERVAL=inf"));
}

}  // namespace
}  // namespace railccl::ucx
