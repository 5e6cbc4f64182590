// The conformance suite over simulated rails, plain and under the fault decorator.
#include "tests/transport/sim_pair.h"
#include "transport/faults/fault_rail.h"

namespace railccl::testing_support {
namespace {

Decorate plain() {
  return [](std::unique_ptr<Rail> rail) { return rail; };
}

// Faults that the contract allows at any time.
Decorate with_faults(const std::string& text) {
  return [=](std::unique_ptr<Rail> rail) {
    auto plans = parse_fault_plans(text);
    if (!plans) ADD_FAILURE() << plans.error().message();
    auto made = make_fault_rail(std::move(rail), std::move(*plans));
    if (!made) ADD_FAILURE() << made.error().message();
    return std::move(*made);
  };
}

INSTANTIATE_TEST_SUITE_P(Sim, RailConformance,
                         testing::Values(sim_factory("plain", plain()),
                                         sim_factory("decorated", with_faults("")),
                                         sim_factory("delayed", with_faults("delay@0x3"))),
                         rail_pair_name);

}  // namespace
}  // namespace railccl::testing_support
