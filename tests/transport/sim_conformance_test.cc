// The conformance suite over simulated rails, in their own time.
#include "tests/transport/conformance/rail_conformance.h"
#include "transport/sim/sim_network.h"

namespace railccl::testing_support {
namespace {

class SimPair final : public RailPair {
 public:
  explicit SimPair(const RailPairOptions& options) : network_({.seed = 11}) {
    for (int side = 0; side < 2; ++side) {
      rails_[static_cast<size_t>(side)] =
          network_.add_rail({.name = fmt::format("sim{}", side),
                             .max_outstanding_puts = options.max_outstanding_puts,
                             .connect_timeout_ns = options.connect_timeout_ns});
    }
  }
  Rail& rail(int side) override { return *rails_[static_cast<size_t>(side)]; }
  TimeNs now() override { return network_.now(); }
  // With no event left the clock goes on all the same, so that deadlines pass.
  void idle() override {
    if (!network_.advance()) network_.advance_to(network_.now() + kMillisecond);
  }

 private:
  SimNetwork network_;
  std::array<std::unique_ptr<Rail>, 2> rails_;
};

INSTANTIATE_TEST_SUITE_P(
    Sim, RailConformance,
    testing::Values(RailPairFactory{
        "sim", [](const RailPairOptions& options) { return std::make_unique<SimPair>(options); }}),
    rail_pair_name);

}  // namespace
}  // namespace railccl::testing_support
