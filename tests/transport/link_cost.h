// The seam of link_cost_benchmark.cc: the same program is linked once as it is, and once with the
// tracking of chunks off (link_cost_untracked.cc).
#pragma once

#include <memory>

#include "transport/rail.h"

namespace railccl {

// What a link of one side sees of its rails.
class RailDecorator {
 public:
  virtual ~RailDecorator() = default;
  virtual std::unique_ptr<Rail> decorate(std::unique_ptr<Rail> rail) = 0;
};
std::unique_ptr<RailDecorator> make_rail_decorator();

}  // namespace railccl
