// A GPU behind the interface of src/compute/device.h: its context, the kernel, its queues. Any
// thread.
#pragma once

#include <memory>

#include "cuda/driver.h"
#include "cuda/queue_pool.h"
#include "src/compute/device.h"

namespace railccl::cuda {

class CudaDevice final : public Device {
 public:
  // The GPU with memory at `address`; for memory of the host, that of the calling thread's current
  // context. The same object for the same context; `options` count at its first use. An error:
  // there is no driver, this build has no kernel for the GPU, or the driver refuses.
  static Result<std::shared_ptr<Device>> open(const void* address, const DeviceOptions& options);

  // The GPU with that number, by the context that CUDA's runtime uses.
  static Result<std::shared_ptr<Device>> open(int ordinal, const DeviceOptions& options);

  int ordinal() const override { return ordinal_; }
  Result<Launch> launch(std::span<const DeviceStream> streams,
                        const std::function<void(const Launch&)>& reached) override;
  Result<std::byte*> pin(std::byte* memory, size_t bytes) override;
  bool unpin(std::byte* memory) override;
  Result<SharedDeviceMemory> allocate_shared(size_t bytes) override;
  void free_shared(const SharedDeviceMemory& memory) override;
  Result<std::byte*> reach(const SharedDeviceMemory& memory) override;
  void let_go(const SharedDeviceMemory& memory, std::byte* reached) override;

 private:
  CudaDevice(const Driver& driver, Context context, int ordinal, const DeviceOptions& options)
      : driver_(driver),
        context_(context),
        ordinal_(ordinal),
        options_(options),
        pool_(driver, context) {}
  static Result<std::shared_ptr<Device>> of_context(const Driver& driver, Context context,
                                                    const DeviceOptions& options);
  static Result<std::shared_ptr<CudaDevice>> make(const Driver& driver, Context context,
                                                  const DeviceOptions& options);
  Status load_kernel();
  // The graph that `stream` is captured into; null: none.
  Result<void*> captured_graph(DeviceStream stream) const;
  // That of all streams; an error when only some are captured.
  Result<void*> graph_of(std::span<const DeviceStream> streams) const;
  Status keep_in_graph(void* graph, DeviceStream stream, const Launch& launch,
                       const std::function<void(const Launch&)>& reached) const;
  Status start_kernel(DeviceStream stream, QueuePlace& place) const;

  const Driver& driver_;
  Context context_;
  int ordinal_;
  DeviceOptions options_;
  void* kernel_ = nullptr;
  QueuePool pool_;
};

}  // namespace railccl::cuda
