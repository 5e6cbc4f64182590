// Two simulated rails for the conformance suite, in their own time; each may be decorated.
#pragma once

#include <functional>

#include "tests/transport/conformance/rail_conformance.h"
#include "transport/sim/sim_network.h"

namespace railccl::testing_support {

using Decorate = std::function<std::unique_ptr<Rail>(std::unique_ptr<Rail>)>;

class SimPair final : public RailPair {
 public:
  SimPair(const RailPairOptions& options, const Decorate& decorate) : network_({.seed = 11}) {
    for (int side = 0; side < 2; ++side) {
      rails_[static_cast<size_t>(side)] =
          decorate(network_.add_rail({.name = fmt::format("sim{}", side),
                                      .max_outstanding_puts = options.max_outstanding_puts,
                                      .connect_timeout_ns = options.connect_timeout_ns}));
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

inline RailPairFactory sim_factory(const std::string& name, const Decorate& decorate) {
  return {name, [=](const RailPairOptions& options) {
            return std::make_unique<SimPair>(options, decorate);
          }};
}

}  // namespace railccl::testing_support
