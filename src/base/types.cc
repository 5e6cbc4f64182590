#include "src/base/types.h"

#include <array>

namespace railccl {

std::string_view data_type_name(DataType type) {
  static constexpr std::array<std::string_view, kDataTypes> kNames = {
      "int8", "uint8", "int32",  "uint32",   "int64",  "uint64",
      "half", "float", "double", "bfloat16", "f8e4m3", "f8e5m2"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view reduce_op_name(ReduceOp op) {
  static constexpr std::array<std::string_view, kReduceOps> kNames = {"sum", "prod", "max",
                                                                      "min", "avg",  "mulsum"};
  return kNames[static_cast<size_t>(op)];
}

std::string_view collective_name(Collective collective) {
  static constexpr std::array<std::string_view, kCollectives> kNames = {
      "AllReduce", "AllGather", "Broadcast", "Reduce",  "ReduceScatter",
      "AlltoAll",  "Gather",    "Scatter",   "SendRecv"};
  return kNames[static_cast<size_t>(collective)];
}

}  // namespace railccl
