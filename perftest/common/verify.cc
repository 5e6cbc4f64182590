#include "perftest/common/verify.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace railccl::perftest {
namespace {

constexpr std::byte kPoison{0xb5};
constexpr uint64_t kBlockElements = 8192;  // compared at once: in cache with its expectation

uint64_t count_different(const std::byte* actual, const std::byte* expected, uint64_t count,
                         size_t element_bytes) {
  if (std::memcmp(actual, expected, count * element_bytes) == 0) return 0;
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const size_t at = i * element_bytes;
    wrong += std::memcmp(actual + at, expected + at, element_bytes) != 0 ? 1 : 0;
  }
  return wrong;
}

}  // namespace

Placement place(const Layout& layout, int rank, bool in_place) {
  if (!in_place) return {};
  return {.in_place = true,
          .send_offset = layout.send_in_place_offset * static_cast<uint64_t>(rank),
          .recv_offset = layout.recv_in_place_offset * static_cast<uint64_t>(rank)};
}

CheckedOperation::CheckedOperation(const Collective& collective, const Layout& layout,
                                   const Position& position, const Pattern& pattern, bool in_place)
    : collective_(collective),
      layout_(layout),
      position_(position),
      pattern_(pattern),
      placement_(place(layout, position.rank, in_place)),
      element_bytes_(type_info(pattern.key().type).bytes) {}

uint64_t CheckedOperation::recv_end() const {
  return std::max(placement_.send_offset + layout_.send_count,
                  placement_.recv_offset + layout_.recv_count);
}

size_t CheckedOperation::send_bytes() const {
  return placement_.in_place ? 0 : layout_.send_count * element_bytes_;
}

size_t CheckedOperation::recv_bytes() const { return recv_end() * element_bytes_ + kGuardBytes; }

void CheckedOperation::prepare(const Buffers& buffers) const {
  std::memset(buffers.recv, std::to_integer<int>(kPoison), recv_bytes());
  std::byte* input =
      placement_.in_place ? buffers.recv + placement_.send_offset * element_bytes_ : buffers.send;
  pattern_.input(position_.rank, 0, layout_.send_count, input);
}

uint64_t CheckedOperation::count_wrong(const Buffers& buffers) const {
  const std::byte* output = buffers.recv + placement_.recv_offset * element_bytes_;
  uint64_t wrong = 0;
  uint64_t begin = 0;
  for (const Expected& part : collective_.expected(layout_, position_)) {
    wrong += wrong_in_part(part, begin, output);
    begin += part.count;
  }
  // In place the buffer goes on behind the output; what is left of the input there is anyone's.
  const uint64_t end = placement_.in_place ? recv_end() : layout_.recv_count;
  const std::byte* guard = buffers.recv + end * element_bytes_;
  const bool guard_is_whole =
      std::all_of(guard, guard + kGuardBytes, [](std::byte b) { return b == kPoison; });
  return wrong + (guard_is_whole ? 0 : 1);
}

uint64_t CheckedOperation::wrong_in_part(const Expected& part, uint64_t output_begin,
                                         const std::byte* output) const {
  std::vector<std::byte> expected(std::min(kBlockElements, part.count) * element_bytes_);
  uint64_t wrong = 0;
  for (uint64_t begin = 0; begin < part.count; begin += kBlockElements) {
    const uint64_t count = std::min(kBlockElements, part.count - begin);
    write_expected(part, output_begin, begin, count, expected.data());
    wrong += count_different(output + (output_begin + begin) * element_bytes_, expected.data(),
                             count, element_bytes_);
  }
  return wrong;
}

void CheckedOperation::write_expected(const Expected& part, uint64_t output_begin, uint64_t begin,
                                      uint64_t count, std::byte* out) const {
  switch (part.from) {
    case Expected::From::kReduction:
      return pattern_.reduction(part.input_begin + begin, count, out);
    case Expected::From::kRank:
      return pattern_.input(part.rank, part.input_begin + begin, count, out);
    case Expected::From::kUntouched:
      return write_untouched(output_begin + begin, count, out);
  }
}

// What prepare() left in elements [begin, begin + count) of the output: in place this rank's input
// is among them.
void CheckedOperation::write_untouched(uint64_t begin, uint64_t count, std::byte* out) const {
  std::memset(out, std::to_integer<int>(kPoison), count * element_bytes_);
  if (!placement_.in_place) return;
  // Both in elements from the begin of the receive buffer.
  const uint64_t output_begin = placement_.recv_offset + begin;
  const uint64_t first = std::max(output_begin, placement_.send_offset);
  const uint64_t last = std::min(output_begin + count, placement_.send_offset + layout_.send_count);
  if (first >= last) return;
  pattern_.input(position_.rank, first - placement_.send_offset, last - first,
                 out + (first - output_begin) * element_bytes_);
}

}  // namespace railccl::perftest
