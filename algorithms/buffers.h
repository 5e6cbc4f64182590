// What the caller's buffers of a collective are, and how they coincide in place: NCCL's definitions
// as data. Generators and the verifier both start from here. Pure.
#pragma once

#include <cstdint>

#include "algorithms/schedule.h"

namespace railccl::algorithms {

// How many blocks of Shape::block elements `buffer` (kInput or kOutput) of `rank` has; a piece
// touches the first Shape::piece elements of each. 0: the rank has no such buffer.
uint64_t user_blocks(const Shape& shape, int rank, BufferId buffer);

// The same memory under one name: in place, the smaller buffer is a block of the larger one (or
// both are the same), and a slice of it is renamed to the larger one. kScratch stays as it is.
// `rank` owns the memory.
Slice canonical(const Shape& shape, int rank, Slice slice);

}  // namespace railccl::algorithms
