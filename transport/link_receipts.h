// What a link has of its peer's puts and messages. Whatever it posts that has room for it says so
// on its way. Internal to the link; same thread.
#pragma once

#include "transport/wire.h"

namespace railccl {

class LinkReceipts {
 public:
  virtual wire::AckNote acknowledgement() const = 0;
  // That is on its way with a message or a chunk.
  virtual void on_carried(const wire::AckNote& ack) = 0;

 protected:
  ~LinkReceipts() = default;
};

}  // namespace railccl
