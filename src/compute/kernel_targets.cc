#include "src/compute/kernel_targets.h"

#include <hwy/targets.h>

namespace railccl::compute {

std::vector<KernelTarget> kernel_targets() {
  std::vector<KernelTarget> targets;
  for (int64_t bit : hwy::SupportedAndGeneratedTargets()) {
    targets.push_back({.bit = bit, .name = hwy::TargetName(bit)});
  }
  return targets;
}

void force_kernel_target(const KernelTarget& target) {
  hwy::SetSupportedTargetsForTest(target.bit);
}

void release_kernel_target() { hwy::SetSupportedTargetsForTest(0); }

}  // namespace railccl::compute
