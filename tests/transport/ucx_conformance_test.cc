// The conformance suite over two UCX rails of one device, which reach each other through its
// loopback: UCX's TCP on the loopback interface, and the first RDMA port where there is one, as in
//   tools/fabric-lab run --fabric qemu --nodes 1 --rails 1 -- build/tests/ucx_conformance_test
#include <fmt/ranges.h>

#include "tests/transport/conformance/real_rail_pair.h"
#include "transport/tcp/tcp_transport.h"
#include "transport/ucx/ucx_transport.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl::testing_support {
namespace {

Result<UcxRailConfig> loopback_interface() {
  RAILCCL_TRY(ucx_available());
  RAILCCL_ASSIGN(TcpDiscovery found, discover_tcp_rails({.interface_spec = "=lo"}));
  return ucx_rail_over(found.rails[0].info);
}

Result<UcxRailConfig> rdma_port() {
  RAILCCL_TRY(ucx_available());
  RAILCCL_ASSIGN(VerbsDiscovery found, discover_verbs_rails({}));
  if (!found.rails.empty()) return ucx_rail_over(found.rails[0].info);
  return error(Code::kRailFailed, "no RDMA port: {}", fmt::join(found.warnings, "; "));
}

RailPairFactory ucx_factory(const std::string& name, const Result<UcxRailConfig>& config,
                            const std::string& transports, size_t rendezvous_bytes) {
  if (!config) return {.name = name, .missing = std::string(config.error().message())};
  return {.name = name, .make = [=](const RailPairOptions& wanted) {
            UcxRailOptions options;
            options.transports = transports;
            options.rendezvous_bytes = rendezvous_bytes;
            options.max_outstanding_puts = wanted.max_outstanding_puts;
            options.connect_timeout_ns = wanted.connect_timeout_ns;
            options.farewell_timeout_ns = 5 * kSecond;  // a virtual machine may stand still
            return std::make_unique<RealRailPair>([&] { return open_ucx_rail(*config, options); });
          }};
}

constexpr size_t kUsual = UcxRailOptions{}.rendezvous_bytes;
constexpr size_t kNever = size_t{1} << 40;
constexpr size_t kNearlyAlways = 64;

INSTANTIATE_TEST_SUITE_P(
    Ucx, RailConformance,
    testing::Values(ucx_factory("tcp", loopback_interface(), "tcp", kUsual),
                    ucx_factory("tcp_eager", loopback_interface(), "tcp", kNever),
                    ucx_factory("tcp_rendezvous", loopback_interface(), "tcp", kNearlyAlways),
                    ucx_factory("rc", rdma_port(), "rc_verbs,ud_verbs", kUsual),
                    ucx_factory("rc_rendezvous", rdma_port(), "rc_verbs,ud_verbs", kNearlyAlways),
                    ucx_factory("ud", rdma_port(), "ud_verbs", kUsual)),
    rail_pair_name);

}  // namespace
}  // namespace railccl::testing_support
