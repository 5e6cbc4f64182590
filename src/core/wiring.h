// The one place that names concrete transports and CUDA. Any thread; slow, unless said otherwise.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/settings.h"
#include "src/base/status.h"
#include "src/compute/device.h"
#include "transport/rail.h"

namespace railccl {

// The transports whose libraries are there: "verbs", "ucx", "tcp".
std::vector<std::string> usable_transports();

namespace verbs {
struct VerbsApi;
}
using VerbsLibrary = Result<const verbs::VerbsApi*>;

// The rails that the settings ask for, in their order; with this machine's libibverbs, or with one
// that is handed in.
Result<std::vector<std::unique_ptr<Rail>>> open_rails(const Settings& settings);
Result<std::vector<std::unique_ptr<Rail>>> open_rails(const Settings& settings,
                                                      const VerbsLibrary& verbs_library);

// Where a caller's pointer leads. Fast. The GPU's driver must have been in the process before the
// last call of find_gpu_driver.
MemoryPlace place_of(const void* address);
// The same, of memory that may have been pinned since it was last asked about. A microsecond.
MemoryPlace place_of_now(const void* address);
bool find_gpu_driver();
// Whether the calling thread has.
bool has_chosen_gpu();
// Whether this build has a kernel for GPUs.
bool has_gpu_kernel();
// Also where the program has not; false: there is none.
bool load_gpu_driver();

// The GPU with memory at `address`, or that the calling thread has chosen.
Result<std::shared_ptr<Device>> open_device(const void* address, const DeviceOptions& options);
Result<std::shared_ptr<Device>> open_device(int ordinal, const DeviceOptions& options);

// Memory of the GPU that the calling thread has chosen; null: it has chosen none.
Result<void*> allocate_on_device(size_t bytes);
Status free_on_device(void* address);

}  // namespace railccl
