#include "src/api/config.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "src/core/net_name.h"

namespace railccl {
namespace {

constexpr unsigned kMagic = 0xcafebeef;
// The first published layout (2.14) ended after `blocking`.
constexpr size_t kSmallestSize = offsetof(ncclConfig_t, blocking) + sizeof(int);

Status check_range(int value, int low, int high, std::string_view field,
                   std::string_view function) {
  if (value == NCCL_CONFIG_UNDEF_INT || (value >= low && value <= high)) return Status::ok();
  return error(Code::kInvalidArgument,
               "field {} of the config given to {} is {}, allowed are {} to {}", field, function,
               value, low, high);
}

}  // namespace

Result<CommConfig> parse_config(const ncclConfig_t* config, std::string_view function) {
  CommConfig parsed;
  if (config == nullptr) return parsed;
  if (config->magic != kMagic || config->size < kSmallestSize) {
    return error(Code::kInvalidArgument,
                 "the config given to {} was not initialized with NCCL_CONFIG_INITIALIZER",
                 function);
  }
  ncclConfig_t known = NCCL_CONFIG_INITIALIZER;
  std::memcpy(&known, config, std::min(config->size, sizeof known));
  RAILCCL_TRY(check_range(known.blocking, 0, 1, "blocking", function));
  RAILCCL_TRY(check_range(known.minCTAs, 1, 64, "minCTAs", function));
  RAILCCL_TRY(check_range(known.maxCTAs, 1, 64, "maxCTAs", function));
  RAILCCL_TRY(check_range(known.splitShare, 0, 1, "splitShare", function));
  RAILCCL_TRY(check_range(known.shrinkShare, 0, 1, "shrinkShare", function));
  if (known.minCTAs != NCCL_CONFIG_UNDEF_INT && known.maxCTAs != NCCL_CONFIG_UNDEF_INT &&
      known.minCTAs > known.maxCTAs) {
    return error(Code::kInvalidArgument,
                 "the config given to {} has minCTAs {} greater than maxCTAs {}", function,
                 known.minCTAs, known.maxCTAs);
  }
  parsed.blocking = known.blocking != 0;
  if (known.minCTAs != NCCL_CONFIG_UNDEF_INT) parsed.channels.min = known.minCTAs;
  if (known.maxCTAs != NCCL_CONFIG_UNDEF_INT) parsed.channels.max = known.maxCTAs;
  if (known.netName != nullptr) {
    parsed.only = transport_of_net(known.netName);
    if (!parsed.only) {
      return error(Code::kInvalidArgument,
                   "field netName of the config given to {} is '{}', allowed are {}", function,
                   known.netName, kNetNames);
    }
  }
  if (known.commName != nullptr) parsed.comm_name = known.commName;
  return parsed;
}

}  // namespace railccl
