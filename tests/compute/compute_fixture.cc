#include "tests/compute/compute_fixture.h"

#include <algorithm>
#include <cstring>

namespace railccl::testing {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr uint8_t kGuard = 0xA5;

template <typename T>
void put(Bytes& bytes, size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

// Bits of zeros, infinities, NaNs, denormals and largest numbers, of both signs, for a float of
// `size` bytes with `mantissa` bits of fraction.
uint64_t special_bits(size_t size, int mantissa, std::mt19937_64& random) {
  const uint64_t sign = uint64_t{1} << (size * 8 - 1);
  const uint64_t infinity = ((sign - 1) >> mantissa) << mantissa;
  const uint64_t choices[] = {0,
                              1,
                              infinity,
                              infinity - 1,
                              infinity + 1,
                              sign - 1,
                              (uint64_t{1} << mantissa) - 1,
                              uint64_t{1} << mantissa};
  return choices[random() % std::size(choices)] | (random() % 2 == 0 ? 0 : sign);
}

int mantissa_bits(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return 10;
    case DataType::kFloat32:
      return 23;
    case DataType::kFloat64:
      return 52;
    case DataType::kBfloat16:
      return 7;
    case DataType::kFloat8e4m3:
      return 3;
    case DataType::kFloat8e5m2:
      return 2;
    default:
      return 0;
  }
}

uint64_t moderate_bits(DataType type, std::mt19937_64& random) {
  const double value = std::uniform_real_distribution<double>(-8, 8)(random);
  uint64_t bits = 0;
  if (is_small_float(type)) return encode_small(type, value);
  if (type == DataType::kFloat32) {
    const auto narrow = static_cast<float>(value);
    std::memcpy(&bits, &narrow, sizeof(narrow));
  } else {
    std::memcpy(&bits, &value, sizeof(value));
  }
  return bits;
}

uint64_t random_bits(DataType type, std::mt19937_64& random) {
  const int mantissa = mantissa_bits(type);
  const uint64_t kind = random() % 16;
  if (mantissa == 0 || kind == 0) return random();
  if (kind == 1) return special_bits(element_bytes(type), mantissa, random);
  return moderate_bits(type, random);
}

}  // namespace

GuardedBuffer::GuardedBuffer(size_t bytes, size_t misalignment)
    : bytes_(bytes), storage_(bytes + 4 * kGuardBytes, kGuard) {
  const auto address = reinterpret_cast<uintptr_t>(storage_.data());
  begin_ = kGuardBytes + (kGuardBytes - address % kGuardBytes) + misalignment % kGuardBytes;
}

void GuardedBuffer::fill(const Bytes& content) {
  std::copy_n(content.begin(), std::min(content.size(), bytes_), storage_.begin() + begin_);
}

bool GuardedBuffer::guards_intact() const {
  const auto is_guard = [](uint8_t byte) { return byte == kGuard; };
  return std::all_of(storage_.begin(), storage_.begin() + begin_, is_guard) &&
         std::all_of(storage_.begin() + begin_ + bytes_, storage_.end(), is_guard);
}

Bytes random_operand(DataType type, size_t count, std::mt19937_64& random) {
  const size_t size = element_bytes(type);
  Bytes bytes(count * size);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t bits = random_bits(type, random);
    std::memcpy(bytes.data() + i * size, &bits, size);
  }
  return bytes;
}

std::vector<DataType> all_types() {
  std::vector<DataType> types;
  for (int i = 0; i < kDataTypes; ++i) types.push_back(static_cast<DataType>(i));
  return types;
}

std::vector<ReduceOp> all_ops() {
  std::vector<ReduceOp> ops;
  for (int i = 0; i < kReduceOps; ++i) ops.push_back(static_cast<ReduceOp>(i));
  return ops;
}

std::string target_name(const ::testing::TestParamInfo<compute::KernelTarget>& info) {
  return info.param.name;
}

}  // namespace railccl::testing
