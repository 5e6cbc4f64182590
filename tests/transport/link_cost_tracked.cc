// link_cost_benchmark with the link as it is.
#include "tests/transport/link_cost.h"

namespace railccl {
namespace {

class Plain final : public RailDecorator {
 public:
  std::unique_ptr<Rail> decorate(std::unique_ptr<Rail> rail) override { return rail; }
};

}  // namespace

std::unique_ptr<RailDecorator> make_rail_decorator() { return std::make_unique<Plain>(); }

}  // namespace railccl
