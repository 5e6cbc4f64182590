// One opened device and what a rail has of it: context, protection domain, the completion channel,
// completion queues, and the threads that start and destroy its queue pairs. Owned by the rail;
// its thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "transport/rail.h"
#include "transport/slow_calls.h"
#include "transport/verbs/gid_selection.h"
#include "transport/verbs/verbs_resources.h"

namespace railccl::verbs {

// A completion queue that never overflows: queue pairs reserve room for all they can have posted.
struct CompletionQueue {
  CompletionQueueHandle handle;
  uint32_t capacity = 0;
  std::atomic<uint32_t> reserved = 0;  // given back by the thread of the ends
};

class VerbsDevice {
 public:
  static Result<std::unique_ptr<VerbsDevice>> open(const VerbsApi& api, const std::string& device,
                                                   uint8_t port);

  const VerbsApi& api() const { return api_; }
  ibv_context* context() const { return context_.get(); }
  ibv_pd* pd() const { return pd_.get(); }
  ibv_comp_channel* channel() const { return channel_.get(); }
  uint8_t port() const { return port_; }
  // Whether this device and its driver take memory given as dma-buf.
  bool takes_dmabuf() const;
  const ibv_device_attr& attributes() const { return attributes_; }
  // Without what comes after `link_layer`.
  Result<ibv_port_attr> query_port() const;
  Result<std::vector<GidEntry>> query_gids() const;

  // A queue with room for so many completions.
  Result<CompletionQueue*> reserve(uint32_t completions);
  const std::vector<std::unique_ptr<CompletionQueue>>& queues() const { return queues_; }

  // Where its queue pairs are started, and where they are destroyed.
  SlowCalls& starts() { return starts_; }
  SlowCalls& ends() { return ends_; }

  // The mr addresses begin at the place of `address` in its page, so that every NIC can map it.
  Result<MemoryHandle> register_memory(const MemoryRegion& region, unsigned access) const;

 private:
  VerbsDevice(const VerbsApi& api, uint8_t port) : api_(api), port_(port) {}

  const VerbsApi& api_;
  const uint8_t port_;
  Context context_;
  ibv_device_attr attributes_{};
  ProtectionDomain pd_;
  CompletionChannel channel_;
  std::vector<std::unique_ptr<CompletionQueue>> queues_;
  // The last: they end before what queue pairs stand on. An end waits for the start.
  SlowCalls starts_;
  SlowCalls ends_;
};

// The offset of the first byte within its page, where addresses of a registration begin.
uint64_t first_address(const MemoryRegion& region);

// Opens a device by name; the error says why not, and names the device node when permission lacks.
Result<Context> open_context(const VerbsApi& api, const std::string& device);

}  // namespace railccl::verbs
