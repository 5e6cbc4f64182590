// What libibverbs hands out, as move-only owners that give it back. They are destroyed in the order
// queue pairs, completion queues, channel, memory, protection domain, context. Any thread.
#pragma once

#include <memory>

#include "transport/verbs/verbs_api.h"

namespace railccl::verbs {

template <typename Object>
struct Release {
  int (*release)(Object*) = nullptr;
  void operator()(Object* object) const { release(object); }
};
template <typename Object>
using Owned = std::unique_ptr<Object, Release<Object>>;

template <typename Object>
Owned<Object> own(Object* object, int (*release)(Object*)) {
  return {object, {release}};
}

using Context = Owned<ibv_context>;
using ProtectionDomain = Owned<ibv_pd>;
using MemoryHandle = Owned<ibv_mr>;
using CompletionChannel = Owned<ibv_comp_channel>;
using CompletionQueueHandle = Owned<ibv_cq>;
using QueuePairHandle = Owned<ibv_qp>;

}  // namespace railccl::verbs
