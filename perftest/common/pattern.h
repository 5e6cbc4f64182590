// The data of a test: every rank's input as a function of (seed, rank, index), and what reducing
// all of them must give, computed directly and without reducing, in constant time per element.
// Inputs are chosen so that the result is exact in the element type whatever the order of the
// reduction: results are compared bit by bit, without tolerance, and one flipped bit is found.
//
//  - not reduced: random bits, NaNs and all.
//  - sum, avg, mulsum: rank r contributes base(i) + d(i, r / 2) or, its neighbour r ^ 1, base - d:
//    the sum of n ranks is n base(i). Floats: integers so small that no partial sum of any ranks
//    needs more than the mantissa, averages multiples of n. Integers: random, modulo 2^bits (avg:
//    small, no overflow).
//  - prod: three ranks, by random choice per element, have factors; all others 1.
//  - max, min: one rank, by random choice per element, is on the right side of all others.
//
// Pure; a Pattern may be used by any thread.
#pragma once

#include <railccl/nccl.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "perftest/common/types.h"

namespace railccl::perftest {

struct PatternKey {
  ncclDataType_t type = ncclFloat;
  std::optional<Operator> op;  // none: the collective does not reduce
  uint64_t seed = 0;
  int ranks = 1;
};

class Pattern {
 public:
  explicit Pattern(const PatternKey& key) : key_(key) {}
  const PatternKey& key() const { return key_; }

  // Elements [begin, begin + count) of `rank`'s input, to `out` (aligned to nothing).
  void input(int rank, uint64_t begin, uint64_t count, void* out) const;
  // The same elements of the reduction of all inputs; the key has an operator.
  void reduction(uint64_t begin, uint64_t count, void* out) const;
  // `rank`'s factor for Operator::kMulSum, one element.
  void scalar(int rank, void* out) const;

 private:
  PatternKey key_;
};

}  // namespace railccl::perftest
