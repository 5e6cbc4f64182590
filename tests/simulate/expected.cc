#include "tests/simulate/expected.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace railccl::simulate {
namespace {

double element(std::span<const std::byte> data, DataType type, uint64_t index) {
  const std::byte* at = data.data() + index * element_bytes(type);
  switch (type) {
    case DataType::kFloat32: {
      float value = 0;
      std::memcpy(&value, at, sizeof value);
      return static_cast<double>(value);
    }
    case DataType::kBfloat16: {
      uint32_t bits = 0;
      std::memcpy(reinterpret_cast<std::byte*>(&bits) + 2, at, 2);
      float value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return static_cast<double>(value);
    }
    case DataType::kFloat64: {
      double value = 0;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    case DataType::kInt32: {
      int32_t value = 0;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    default:
      return std::to_integer<uint8_t>(*at);
  }
}

// Integers wrap around.
double wrapped(double value, DataType type) {
  if (type == DataType::kInt32) {
    return static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(value)));
  }
  if (type == DataType::kUint8) return static_cast<uint8_t>(static_cast<int64_t>(value));
  return value;
}

struct Combined {
  double value = 0;
  double magnitude = 0;  // of what was added, for the error that rounding may make
};

class Oracle {
 public:
  Oracle(const Script& script, size_t index)
      : inputs_(script.inputs[index]),
        call_(script.workload.call(index)),
        shift_(static_cast<uint64_t>(script.workload.operations[index].root)),
        ranks_(static_cast<uint64_t>(script.workload.ranks)) {}

  Combined at(uint64_t rank, uint64_t place) const {
    const uint64_t count = call_.count;
    const auto root = static_cast<uint64_t>(call_.root);
    const uint64_t block = place / count;
    const uint64_t within = place % count;
    switch (call_.collective) {
      case Collective::kAllReduce:
      case Collective::kReduce:
        return combined(place);
      case Collective::kReduceScatter:
        return combined(rank * count + place);
      case Collective::kAllGather:
      case Collective::kGather:
        return single(block, within);
      case Collective::kAllToAll:
        return single(block, rank * count + within);
      case Collective::kSendRecv:
        return single((rank + ranks_ - shift_) % ranks_, place);
      case Collective::kBroadcast:
        return single(root, place);
      default:
        return single(root, rank * count + place);
    }
  }

 private:
  Combined single(uint64_t rank, uint64_t place) const {
    return {.value = element(inputs_[rank], call_.type, place)};
  }
  Combined combined(uint64_t place) const {
    Combined sum = single(0, place);
    sum.magnitude = std::abs(sum.value);
    for (uint64_t rank = 1; rank < ranks_; ++rank) {
      const double value = element(inputs_[rank], call_.type, place);
      sum.magnitude += std::abs(value);
      if (call_.op == ReduceOp::kMax) {
        sum.value = std::max(sum.value, value);
      } else if (call_.op == ReduceOp::kMin) {
        sum.value = std::min(sum.value, value);
      } else {
        sum.value += value;
      }
    }
    if (call_.op == ReduceOp::kMax || call_.op == ReduceOp::kMin) sum.magnitude = 0;
    if (call_.op == ReduceOp::kAvg) sum.value /= static_cast<double>(ranks_);
    sum.value = wrapped(sum.value, call_.type);
    return sum;
  }

  const std::vector<std::vector<std::byte>>& inputs_;
  Call call_;
  uint64_t shift_;
  uint64_t ranks_;
};

double rounding(DataType type) {
  switch (type) {
    case DataType::kBfloat16:
      return 0x1p-7;
    case DataType::kFloat32:
      return 0x1p-22;
    case DataType::kFloat64:
      return 0x1p-50;
    default:
      return 0;
  }
}

}  // namespace

std::string check_results(const Script& script) {
  for (size_t index = 0; index < script.results.size(); ++index) {
    const Call call = script.workload.call(index);
    const Oracle oracle(script, index);
    for (size_t rank = 0; rank < script.results[index].size(); ++rank) {
      const std::vector<std::byte>& result = script.results[index][rank];
      for (uint64_t place = 0; place < result.size() / call.element(); ++place) {
        const Combined expected = oracle.at(rank, place);
        const double found = element(result, call.type, place);
        const double slack =
            expected.magnitude * rounding(call.type) * static_cast<double>(script.workload.ranks);
        if (std::abs(found - expected.value) <= slack) continue;
        return fmt::format("operation {} ({}), rank {}, element {}: {} instead of {}", index,
                           to_string(call.fingerprint()), rank, place, found, expected.value);
      }
    }
  }
  return {};
}

}  // namespace railccl::simulate
