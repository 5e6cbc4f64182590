#include "perftest/common/types.h"

#include <algorithm>
#include <array>

namespace railccl::perftest {
namespace {

constexpr std::array<TypeInfo, ncclNumTypes> kTypes = {{
    {ncclInt8, "int8", 1},
    {ncclUint8, "uint8", 1},
    {ncclInt32, "int32", 4},
    {ncclUint32, "uint32", 4},
    {ncclInt64, "int64", 8},
    {ncclUint64, "uint64", 8},
    {ncclFloat16, "half", 2},
    {ncclFloat32, "float", 4},
    {ncclFloat64, "double", 8},
    {ncclBfloat16, "bfloat16", 2},
    {ncclFloat8e4m3, "f8e4m3", 1},
    {ncclFloat8e5m2, "f8e5m2", 1},
}};

constexpr std::array<OperatorInfo, 6> kOperators = {{
    {Operator::kSum, "sum", ncclSum},
    {Operator::kProd, "prod", ncclProd},
    {Operator::kMax, "max", ncclMax},
    {Operator::kMin, "min", ncclMin},
    {Operator::kAvg, "avg", ncclAvg},
    {Operator::kMulSum, "mulsum", ncclNumOps},
}};

}  // namespace

std::span<const TypeInfo> all_types() { return kTypes; }

const TypeInfo& type_info(ncclDataType_t type) { return kTypes[static_cast<size_t>(type)]; }

std::optional<ncclDataType_t> find_type(std::string_view name) {
  const auto found = std::ranges::find(kTypes, name, &TypeInfo::name);
  if (found == kTypes.end()) return std::nullopt;
  return found->type;
}

std::span<const OperatorInfo> all_operators() { return kOperators; }

const OperatorInfo& operator_info(Operator op) {
  return *std::ranges::find(kOperators, op, &OperatorInfo::op);
}

std::optional<Operator> find_operator(std::string_view name) {
  const auto found = std::ranges::find(kOperators, name, &OperatorInfo::name);
  if (found == kOperators.end()) return std::nullopt;
  return found->op;
}

}  // namespace railccl::perftest
