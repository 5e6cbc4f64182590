// The conformance suite over two verbs rails of one port, which reach each other through its
// loopback. Where there is no RDMA device it skips and says why: run it in the lab,
//   tools/fabric-lab run --fabric qemu --nodes 1 --rails 1 -- build/tests/verbs_conformance_test
#include <fmt/ranges.h>

#include "tests/transport/conformance/real_rail_pair.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl::testing_support {
namespace {

// The first rail of this machine; an error: why there is none.
Result<VerbsRailConfig> first_rail() {
  RAILCCL_ASSIGN(VerbsDiscovery found, discover_verbs_rails({}));
  if (!found.rails.empty()) return found.rails[0];
  return error(Code::kRailFailed, "no RDMA rail: {}", fmt::join(found.warnings, "; "));
}

RailPairFactory verbs_factory(const std::string& name, int queue_pairs) {
  const auto config = first_rail();
  if (!config) return {.name = name, .missing = std::string(config.error().message())};
  return {
      .name = name, .make = [=](const RailPairOptions& wanted) {
        VerbsRailOptions options;
        options.queue_pairs = queue_pairs;
        options.max_outstanding_puts = wanted.max_outstanding_puts;
        options.connect_timeout_ns = wanted.connect_timeout_ns;
        options.farewell_timeout_ns = 5 * kSecond;  // a virtual machine may stand still
        return std::make_unique<RealRailPair>([&] { return open_verbs_rail(*config, options); });
      }};
}

TEST_P(RailConformance, NotificationSaysWhereTheBytesOfAPutAre) {
  connect();
  constexpr size_t kBytes = 5000;
  constexpr size_t kAt = 123;
  TestBuffer source = make_buffer(rail(0), kBytes, 1);
  TestBuffer target = make_buffer(rail(1), 2 * kBytes, 0);
  fill_pattern(source.bytes, 42);
  Put placed = make_put(source, target, kBytes, 1);
  placed.remote_offset = kAt;
  ASSERT_TRUE(put(0, placed));
  ASSERT_TRUE(progress_until([&] { return count(1, RailEvent::Kind::kNotification) == 1; }));
  const RailEvent* event = sink(1).find(RailEvent::Kind::kNotification, kTag + 1);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(event->data, target.bytes.data() + kAt);
  EXPECT_EQ(event->bytes, kBytes);
  EXPECT_TRUE(has_pattern(std::span(target.bytes).subspan(kAt, kBytes), 42));
}

INSTANTIATE_TEST_SUITE_P(Verbs, RailConformance,
                         testing::Values(verbs_factory("one_queue_pair", 1),
                                         verbs_factory("three_queue_pairs", 3)),
                         rail_pair_name);

}  // namespace
}  // namespace railccl::testing_support
