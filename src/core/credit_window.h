// How much small data a rank may have at one peer that this one has not consumed: each side tells
// with every message how much it has consumed so far, so what goes both ways needs no messages for
// it. Pure.
#pragma once

#include <cstdint>

namespace railccl {

class CreditWindow {
 public:
  // What is told is rounded down to this many bytes.
  static constexpr uint64_t kUnit = 64;

  // At most `bytes` unconsumed. Less than half of that and a unit may stay untold, so what is sent
  // at once must fit into the other half; and what may be told at once into 16 bits.
  static constexpr bool fits(uint64_t bytes, uint64_t largest) {
    return largest + kUnit <= bytes / 2 && bytes + 2 * kUnit < kUnit << 16;
  }
  explicit CreditWindow(uint64_t bytes) : bytes_(bytes) {}

  // --- What this rank sends.
  bool allows(uint64_t bytes) const { return bytes == 0 || sent_ - credited_ + bytes <= bytes_; }
  void sent(uint64_t bytes) { sent_ += bytes; }
  // From a message of the peer, which come in order; false: it consumed what was never sent.
  [[nodiscard]] bool on_told(uint16_t units) {
    const uint64_t before = credited_ / kUnit;
    const uint64_t consumed = (before + static_cast<uint16_t>(units - before)) * kUnit;
    if (consumed > sent_) return false;
    credited_ = consumed;
    return true;
  }

  // --- What it consumes of the peer's.
  void consumed(uint64_t bytes) { consumed_ += bytes; }
  uint16_t to_tell() const { return static_cast<uint16_t>(consumed_ / kUnit); }
  void told() { told_ = consumed_; }
  // Half of the peer's window waits to be told.
  bool due() const { return consumed_ - told_ >= bytes_ / 2; }

 private:
  uint64_t bytes_;
  uint64_t sent_ = 0;
  uint64_t credited_ = 0;
  uint64_t consumed_ = 0;
  uint64_t told_ = 0;
};

}  // namespace railccl
