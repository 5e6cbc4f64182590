// RAILCCL_ALGO, in NCCL's syntax: which algorithms the tuner may choose. Pure.
//
//   ring,tree                      these, for every collective that has one of them
//   ^tree                          all but these
//   allreduce:ring;broadcast:^tree for single collectives; others stay free
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/status.h"

namespace railccl {

// Names by Collective; empty: all are allowed. The error names the unknown word and what is known.
Result<std::vector<std::vector<std::string>>> parse_algorithm_choice(std::string_view text);

}  // namespace railccl
