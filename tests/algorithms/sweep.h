// Verifies algorithms over many shapes and reports the first ones that fail.
#pragma once

#include <vector>

#include "tests/algorithms/shapes.h"

namespace railccl {

class Sweep {
 public:
  // One shape of `period` is verified; which ones differs from one rank count to the next.
  explicit Sweep(size_t period = 1) : period_(period) {}

  void verify(const Algorithm& algorithm, const NamedLayout& layout, const std::vector<int>& roots);
  size_t verified() const { return verified_; }

 private:
  static constexpr int kShown = 5;
  size_t period_;
  size_t seen_ = 0;
  size_t verified_ = 0;
  int failures_ = 0;
};

}  // namespace railccl
