#include "src/compute/integer_divide.h"

#include <cstring>
#include <type_traits>

namespace railccl::compute {
namespace {

// n / divisor for all n and divisors >= 2 of 32 bits, by one multiplication (Lemire, Kaser, Kurz:
// "Faster remainder by direct computation", 2019).
class Divide32 {
 public:
  explicit Divide32(uint32_t divisor) : inverse_(~uint64_t{0} / divisor + 1) {}
  uint32_t operator()(uint32_t n) const {
    __extension__ using Product = unsigned __int128;
    return static_cast<uint32_t>((Product{inverse_} * n) >> 64);
  }

 private:
  uint64_t inverse_;
};

class Divide64 {
 public:
  explicit Divide64(uint32_t divisor) : divisor_(divisor) {}
  uint64_t operator()(uint64_t n) const { return n / divisor_; }

 private:
  uint64_t divisor_;
};

template <typename T>
void divide_all(uint8_t* data, size_t count, uint32_t divisor) {
  using Unsigned = std::make_unsigned_t<T>;
  using Divide = std::conditional_t<sizeof(T) == 8, Divide64, Divide32>;
  const Divide divide(divisor);
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, data + i * sizeof(T), sizeof(T));
    const bool negative = value < T{0};
    const auto bits = static_cast<Unsigned>(value);
    const auto magnitude = static_cast<Unsigned>(negative ? Unsigned{0} - bits : bits);
    const auto quotient = static_cast<Unsigned>(divide(magnitude));
    value = static_cast<T>(negative ? Unsigned{0} - quotient : quotient);
    std::memcpy(data + i * sizeof(T), &value, sizeof(T));
  }
}

}  // namespace

bool is_integer(DataType type) {
  return static_cast<uint8_t>(type) <= static_cast<uint8_t>(DataType::kUint64);
}

void divide_integers(uint8_t* data, size_t count, DataType type, uint32_t divisor) {
  switch (type) {
    case DataType::kInt8:
      return divide_all<int8_t>(data, count, divisor);
    case DataType::kUint8:
      return divide_all<uint8_t>(data, count, divisor);
    case DataType::kInt32:
      return divide_all<int32_t>(data, count, divisor);
    case DataType::kUint32:
      return divide_all<uint32_t>(data, count, divisor);
    case DataType::kInt64:
      return divide_all<int64_t>(data, count, divisor);
    case DataType::kUint64:
      return divide_all<uint64_t>(data, count, divisor);
    default:
      return;
  }
}

}  // namespace railccl::compute
