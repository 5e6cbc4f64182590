// What UCX hands out, as move-only owners that give it back: workers and registrations before their
// context. Any thread.
#pragma once

#include <memory>
#include <type_traits>

#include "transport/ucx/ucx_api.h"

namespace railccl::ucx {

template <typename Handle>
struct Release {
  using pointer = Handle;
  void (*release)(Handle) = nullptr;
  void operator()(Handle handle) const { release(handle); }
};
template <typename Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Release<Handle>>;

using Config = Owned<ucp_config_t*>;
using Context = Owned<ucp_context_h>;
using Worker = Owned<ucp_worker_h>;

}  // namespace railccl::ucx
