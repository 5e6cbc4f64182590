// The conformance suite over TCP rails on loopback, IPv4 and IPv6.
#include "tests/transport/tcp_pair.h"

namespace railccl::testing_support {
namespace {

RailPairFactory tcp_factory(const std::string& name, const std::string& ip0,
                            const std::string& ip1) {
  return {name, [=](const RailPairOptions& wanted) {
            TcpRailOptions options = test_options();
            options.max_outstanding_puts = wanted.max_outstanding_puts;
            options.connect_timeout_ns = wanted.connect_timeout_ns;
            return std::make_unique<TcpPair>(ip0, ip1, options);
          }};
}

INSTANTIATE_TEST_SUITE_P(Tcp, RailConformance,
                         testing::Values(tcp_factory("ipv4", "127.0.0.1", "127.0.0.2"),
                                         tcp_factory("ipv6", "::1", "::1")),
                         rail_pair_name);

}  // namespace
}  // namespace railccl::testing_support
