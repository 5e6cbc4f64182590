#include "perftest/common/pattern.h"

#include <cstring>

#include "perftest/common/element_kinds.h"

namespace railccl::perftest {
namespace {

// What the values of one element are drawn for; keeps the draws independent.
enum Draw : uint64_t { kBits, kBase, kDifference, kPlace1, kPlace2, kPlace3, kFactor };

// splitmix64's finalizer over the four numbers.
uint64_t draw(uint64_t seed, Draw what, uint64_t index, uint64_t rank = 0) {
  uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + what * 0xd1b54a32d192ed03u +
               index * 0xbf58476d1ce4e5b9u + rank * 0x94d049bb133111ebu;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Sum-like operators whose contributions are small integers. Averages of floats are made of
// multiples of the number of ranks, so that they are exact whether the division comes first or
// last.
template <typename Kind>
class SmallSum {
 public:
  explicit SmallSum(const PatternKey& key)
      : seed_(key.seed),
        ranks_(key.ranks),
        integer_average_(key.op == Operator::kAvg && !Kind::kIsFloat),
        multiple_(key.op == Operator::kAvg && Kind::kIsFloat && key.ranks <= Kind::kLimit
                      ? key.ranks
                      : 1),
        cancels_(key.op == Operator::kAvg && key.ranks > Kind::kLimit),
        limit_(Kind::kLimit / multiple_),
        budget_(limit_ / key.ranks),
        third_(budget_ / 3) {}

  int64_t contribution(int rank, uint64_t i) const { return multiple_ * part(rank, i); }
  int64_t result(uint64_t i) const {
    if (cancels_) return 0;
    if (integer_average_) return base(i);
    return base(i) * (budget_ == 0 ? limit_ : ranks_);
  }

 private:
  int64_t part(int rank, uint64_t i) const {
    if (budget_ == 0) return sparse_part(rank, i);
    if (third_ == 0) return base(i);
    int64_t value = base(i);
    const bool has_neighbour = (rank ^ 1) < ranks_;
    if (has_neighbour) value += (rank & 1) != 0 ? -difference(rank, i) : difference(rank, i);
    if (rank == ranks_ - 1) value += remainder(i);
    return value;
  }
  int64_t base(uint64_t i) const {
    const uint64_t random = draw(seed_, kBase, i);
    if (third_ == 0) return Kind::kIsSigned && (random & 1) != 0 ? -1 : 1;
    const auto third = static_cast<uint64_t>(third_);
    return Kind::kIsSigned ? static_cast<int64_t>(random % (2 * third + 1)) - third_
                           : static_cast<int64_t>(third + random % (third + 1));
  }
  int64_t difference(int rank, uint64_t i) const {
    const uint64_t random = draw(seed_, kDifference, i, static_cast<uint64_t>(rank / 2));
    return static_cast<int64_t>(random % static_cast<uint64_t>(third_ + 1));
  }
  // Averages of integers: something for the division to cut off, toward zero.
  int64_t remainder(uint64_t i) const {
    if (!integer_average_ || ranks_ == 1) return 0;
    return base(i) < 0 ? -1 : 1;
  }
  // More ranks than the type can count to: only some contribute to each element. Averages that
  // would be too small come to nothing.
  int64_t sparse_part(int rank, uint64_t i) const {
    const auto ranks = static_cast<uint64_t>(ranks_);
    const auto place = static_cast<int64_t>((static_cast<uint64_t>(rank) + i % ranks) % ranks);
    if (!cancels_) return place < limit_ ? base(i) : 0;
    if (place == 1 && Kind::kIsFloat) return -1;
    return place == 0 ? 1 : 0;
  }

  uint64_t seed_;
  int ranks_;
  bool integer_average_;
  int64_t multiple_;
  bool cancels_;
  int64_t limit_;   // of every sum of parts
  int64_t budget_;  // of each rank, so that no sum passes the limit
  int64_t third_;   // bound of base and of difference
};

// Integers modulo 2^64, cut to the type. The factor of kMulSum is odd, so it can be divided by.
struct WrappingSum {
  uint64_t seed;
  int ranks;
  static constexpr uint64_t kFactor3 = 3;
  static constexpr uint64_t kInverse3 = 0xaaaaaaaaaaaaaaab;  // 3 * it == 1 modulo 2^64

  uint64_t contribution(int rank, uint64_t i) const {
    uint64_t value = draw(seed, kBase, i);
    if ((rank ^ 1) >= ranks) return value;
    const uint64_t difference = draw(seed, kDifference, i, static_cast<uint64_t>(rank / 2));
    return (rank & 1) != 0 ? value - difference : value + difference;
  }
  uint64_t result(uint64_t i) const { return draw(seed, kBase, i) * static_cast<uint64_t>(ranks); }
};

// The three factors of a product and the ranks that have them.
struct Factors {
  int place[3];
  uint64_t random;
  Factors(const PatternKey& key, uint64_t i)
      : place{pick(key, kPlace1, i), pick(key, kPlace2, i), pick(key, kPlace3, i)},
        random(draw(key.seed, kFactor, i)) {}
  static int pick(const PatternKey& key, Draw what, uint64_t i) {
    return static_cast<int>(draw(key.seed, what, i) % static_cast<uint64_t>(key.ranks));
  }
};

// Product of the factors at `rank`, or of all with rank -1.
template <typename Kind>
typename Kind::Element product_of(const PatternKey& key, int rank, uint64_t i) {
  const Factors factors(key, i);
  const auto has = [&](int k) { return rank < 0 || factors.place[k] == rank; };
  if constexpr (Kind::kIsFloat) {
    // One factor fills the mantissa, the others are powers of two: exact in any order.
    constexpr double kSteps = static_cast<double>(uint64_t{1} << Kind::kMantissaBits);
    constexpr double kPowers[] = {0.5, 1, 2, 4};
    constexpr double kOthers[] = {0.5, -1, 2, -0.5};
    const uint64_t mantissa = (factors.random >> 8) & ((uint64_t{1} << Kind::kMantissaBits) - 1);
    double value = 1;
    if (has(0)) value *= 1 + static_cast<double>(mantissa) / kSteps;
    if (has(1)) value *= kPowers[factors.random & 3];
    if (has(2)) value *= kOthers[(factors.random >> 2) & 3];
    return Kind::from_double(value);
  } else {
    uint64_t value = 1;
    if (has(0)) value *= factors.random | 1;
    if (has(1)) value *= (factors.random >> 16) | 1;
    if (has(2)) value *= 3;
    return Kind::from_bits(value);
  }
}

// A value above (upper) or below all values of the other side.
template <typename Kind>
typename Kind::Element side_value(bool upper, uint64_t random) {
  if constexpr (Kind::kIsFloat) {
    const auto magnitude = static_cast<int64_t>(1 + random % static_cast<uint64_t>(Kind::kLimit));
    return Kind::from_halves(upper ? 2 * magnitude : -2 * magnitude);
  } else {
    constexpr uint64_t kTop = uint64_t{1} << (8 * sizeof(typename Kind::Element) - 1);
    const bool top_is_set = upper != Kind::kIsSigned;
    return Kind::from_bits(top_is_set ? random | kTop : random & ~kTop);
  }
}

// The winner's value is the only one on its side.
template <typename Kind>
typename Kind::Element extreme_input(const PatternKey& key, int rank, uint64_t i) {
  const bool wins = Factors::pick(key, kPlace1, i) == rank;
  const bool upper = (key.op == Operator::kMax) == wins;
  return side_value<Kind>(upper, draw(key.seed, kBits, i, static_cast<uint64_t>(rank)));
}

template <typename Kind>
typename Kind::Element extreme_result(const PatternKey& key, uint64_t i) {
  return extreme_input<Kind>(key, Factors::pick(key, kPlace1, i), i);
}

bool doubles_input(const PatternKey& key, int rank) {
  return key.op == Operator::kMulSum && (rank & 1) != 0;
}

// generate(i) gives the element as bits or number; writes them to unaligned memory.
template <typename Element, typename Generate>
void write_elements(uint64_t begin, uint64_t count, void* out, Generate generate) {
  auto* bytes = static_cast<std::byte*>(out);
  for (uint64_t k = 0; k < count; ++k) {
    const Element element = generate(begin + k);
    std::memcpy(bytes + k * sizeof element, &element, sizeof element);
  }
}

// Calls write(generator) with the generator of `rank`'s input (result: of the reduction).
template <typename Kind, typename Write>
void with_sum(const PatternKey& key, int rank, bool result, Write write) {
  if constexpr (Kind::kIsFloat) {
    const SmallSum<Kind> sum(key);
    const int64_t halves = doubles_input(key, rank) ? 1 : 2;
    if (result) return write([&](uint64_t i) { return Kind::from_halves(2 * sum.result(i)); });
    return write([&](uint64_t i) { return Kind::from_halves(halves * sum.contribution(rank, i)); });
  } else if (key.op == Operator::kAvg) {
    const SmallSum<Kind> sum(key);
    if (result) return write([&](uint64_t i) { return Kind::from_integer(sum.result(i)); });
    return write([&](uint64_t i) { return Kind::from_integer(sum.contribution(rank, i)); });
  } else {
    const WrappingSum sum{key.seed, key.ranks};
    const uint64_t inverse = doubles_input(key, rank) ? WrappingSum::kInverse3 : 1;
    if (result) return write([&](uint64_t i) { return Kind::from_bits(sum.result(i)); });
    return write([&](uint64_t i) { return Kind::from_bits(sum.contribution(rank, i) * inverse); });
  }
}

template <typename Kind>
void write_input(const PatternKey& key, int rank, uint64_t begin, uint64_t count, void* out) {
  using Element = typename Kind::Element;
  const auto write = [&](auto generate) { write_elements<Element>(begin, count, out, generate); };
  if (!key.op) {
    return write([&](uint64_t i) {
      return Kind::from_bits(draw(key.seed, kBits, i, static_cast<uint64_t>(rank)));
    });
  }
  switch (*key.op) {
    case Operator::kProd:
      return write([&](uint64_t i) { return product_of<Kind>(key, rank, i); });
    case Operator::kMax:
    case Operator::kMin:
      return write([&](uint64_t i) { return extreme_input<Kind>(key, rank, i); });
    case Operator::kSum:
    case Operator::kAvg:
    case Operator::kMulSum:
      return with_sum<Kind>(key, rank, false, write);
  }
}

template <typename Kind>
void write_reduction(const PatternKey& key, uint64_t begin, uint64_t count, void* out) {
  using Element = typename Kind::Element;
  const auto write = [&](auto generate) { write_elements<Element>(begin, count, out, generate); };
  switch (*key.op) {
    case Operator::kProd:
      return write([&](uint64_t i) { return product_of<Kind>(key, -1, i); });
    case Operator::kMax:
    case Operator::kMin:
      return write([&](uint64_t i) { return extreme_result<Kind>(key, i); });
    case Operator::kSum:
    case Operator::kAvg:
    case Operator::kMulSum:
      return with_sum<Kind>(key, 0, true, write);
  }
}

template <typename Kind>
void write_scalar(const PatternKey& key, int rank, void* out) {
  const bool doubles = doubles_input(key, rank);
  write_elements<typename Kind::Element>(0, 1, out, [&](uint64_t) {
    if constexpr (Kind::kIsFloat) {
      return Kind::from_halves(doubles ? 4 : 2);
    } else {
      return Kind::from_bits(doubles ? WrappingSum::kFactor3 : 1);
    }
  });
}

// Calls visit with a value of the type's kind.
template <typename Visit>
void with_kind(ncclDataType_t type, Visit visit) {
  switch (type) {
    case ncclInt8:
      return visit(IntegerKind<int8_t>());
    case ncclUint8:
      return visit(IntegerKind<uint8_t>());
    case ncclInt32:
      return visit(IntegerKind<int32_t>());
    case ncclUint32:
      return visit(IntegerKind<uint32_t>());
    case ncclInt64:
      return visit(IntegerKind<int64_t>());
    case ncclUint64:
      return visit(IntegerKind<uint64_t>());
    case ncclFloat16:
      return visit(SmallFloatKind<uint16_t, kHalf>());
    case ncclFloat32:
      return visit(FloatKind());
    case ncclFloat64:
      return visit(DoubleKind());
    case ncclBfloat16:
      return visit(SmallFloatKind<uint16_t, kBfloat16>());
    case ncclFloat8e4m3:
      return visit(SmallFloatKind<uint8_t, kFloat8e4m3>());
    case ncclFloat8e5m2:
      return visit(SmallFloatKind<uint8_t, kFloat8e5m2>());
    case ncclNumTypes:
      return;
  }
}

}  // namespace

void Pattern::input(int rank, uint64_t begin, uint64_t count, void* out) const {
  with_kind(key_.type,
            [&](auto kind) { write_input<decltype(kind)>(key_, rank, begin, count, out); });
}

void Pattern::reduction(uint64_t begin, uint64_t count, void* out) const {
  with_kind(key_.type,
            [&](auto kind) { write_reduction<decltype(kind)>(key_, begin, count, out); });
}

void Pattern::scalar(int rank, void* out) const {
  with_kind(key_.type, [&](auto kind) { write_scalar<decltype(kind)>(key_, rank, out); });
}

}  // namespace railccl::perftest
