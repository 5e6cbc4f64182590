// The words of a collective call as values: data types, operators, collectives. Numeric values of
// DataType and ReduceOp are those of the NCCL C API, so the API layer converts by a checked cast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace railccl {

enum class DataType : uint8_t {
  kInt8 = 0,
  kUint8 = 1,
  kInt32 = 2,
  kUint32 = 3,
  kInt64 = 4,
  kUint64 = 5,
  kFloat16 = 6,
  kFloat32 = 7,
  kFloat64 = 8,
  kBfloat16 = 9,
  kFloat8e4m3 = 10,
  kFloat8e5m2 = 11,
};
constexpr int kDataTypes = 12;

enum class ReduceOp : uint8_t { kSum = 0, kProd = 1, kMax = 2, kMin = 3, kAvg = 4, kPreMulSum = 5 };
constexpr int kReduceOps = 6;

enum class Collective : uint8_t {
  kAllReduce,
  kAllGather,
  kBroadcast,
  kReduce,
  kReduceScatter,
  kAllToAll,
  kGather,
  kScatter,
  kSendRecv,  // one group of point-to-point sends and receives
};
constexpr int kCollectives = 9;

constexpr size_t element_bytes(DataType type) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
    case DataType::kFloat8e4m3:
    case DataType::kFloat8e5m2:
      return 1;
    case DataType::kFloat16:
    case DataType::kBfloat16:
      return 2;
    case DataType::kInt32:
    case DataType::kUint32:
    case DataType::kFloat32:
      return 4;
    case DataType::kInt64:
    case DataType::kUint64:
    case DataType::kFloat64:
      return 8;
  }
  return 0;
}

constexpr bool is_rooted(Collective collective) {
  return collective == Collective::kBroadcast || collective == Collective::kReduce ||
         collective == Collective::kGather || collective == Collective::kScatter;
}

constexpr bool is_reduction(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kReduce ||
         collective == Collective::kReduceScatter;
}

// Names as nccl-tests and NCCL's logs print them: "float", "sum", "AllReduce".
std::string_view data_type_name(DataType type);
std::string_view reduce_op_name(ReduceOp op);
std::string_view collective_name(Collective collective);

}  // namespace railccl
