// Which SIMD instruction sets the kernels were compiled for and this processor runs. For tests and
// diagnostics: a process uses the best one unless told otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace railccl::compute {

struct KernelTarget {
  int64_t bit = 0;  // of Highway's target mask
  std::string name;
};

// Best first.
std::vector<KernelTarget> kernel_targets();

// From now on all kernels of the process run on `target`. Not while kernels are running.
void force_kernel_target(const KernelTarget& target);
// Back to the best one.
void release_kernel_target();

}  // namespace railccl::compute
