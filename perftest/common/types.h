// The data types and operators a command line can name, with nccl-tests' names and order. Pure.
#pragma once

#include <railccl/nccl.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace railccl::perftest {

struct TypeInfo {
  ncclDataType_t type;
  std::string_view name;  // "float", "f8e4m3"
  size_t bytes;
};

// By ncclDataType_t.
std::span<const TypeInfo> all_types();
const TypeInfo& type_info(ncclDataType_t type);
std::optional<ncclDataType_t> find_type(std::string_view name);

// What a test reduces with; kMulSum makes an operator with ncclRedOpCreatePreMulSum for each call.
enum class Operator { kSum, kProd, kMin, kMax, kAvg, kMulSum };

struct OperatorInfo {
  Operator op;
  std::string_view name;  // "sum", "mulsum"
  ncclRedOp_t nccl;       // kMulSum: ncclNumOps, a stand-in
};

std::span<const OperatorInfo> all_operators();
const OperatorInfo& operator_info(Operator op);
std::optional<Operator> find_operator(std::string_view name);

}  // namespace railccl::perftest
