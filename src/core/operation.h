// One submitted operation: a collective call or a group of point-to-point transfers, and its end.
// Shared by the caller, its stream and the communicator.
#pragma once

#include <memory>
#include <vector>

#include "src/core/call.h"
#include "src/core/completion.h"

namespace railccl {

struct Operation {
  Call call;                           // when `transfers` is empty
  std::vector<P2pTransfer> transfers;  // a point-to-point group
  // Of the same streams; must be done before this begins.
  std::vector<std::shared_ptr<Operation>> after;
  Completion completion;
  TimeNs began = 0;  // a point-to-point group; set by the driver

  bool may_begin() {
    std::erase_if(after, [](const auto& earlier) { return earlier->completion.done(); });
    return after.empty();
  }
};

}  // namespace railccl
