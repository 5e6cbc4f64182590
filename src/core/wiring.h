// The one place that names concrete transports and CUDA. Any thread; slow, unless said otherwise.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/settings.h"
#include "src/base/status.h"
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

// Memory that only a GPU can read. Fast. The driver must have been in the process before the last
// call of find_gpu_driver.
bool is_gpu_memory(const void* address);
void find_gpu_driver();

}  // namespace railccl
