// What the operations of a communicator came to: how many, how many bytes, how long; and, where the
// cost model is asked (RAILCCL_PREDICT), how long they should have taken, by size. Written by the
// driver of the communicator, read by any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "src/base/clock.h"
#include "src/base/types.h"

namespace railccl {

constexpr size_t kCountedCollectives = static_cast<size_t>(Collective::kSendRecv) + 1;

struct OperationTotals {
  uint64_t operations = 0;
  uint64_t bytes = 0;
  TimeNs took_ns = 0;
};

// Operations of one collective whose bytes are in (largest_bytes / 2, largest_bytes].
struct PredictedTotals {
  Collective collective = Collective::kAllReduce;
  uint64_t largest_bytes = 0;
  uint64_t operations = 0;
  TimeNs took_ns = 0;
  TimeNs predicted_ns = 0;
  double ratio() const {  // measured over predicted
    return predicted_ns == 0 ? 0 : static_cast<double>(took_ns) / static_cast<double>(predicted_ns);
  }
};

class OperationStats {
 public:
  explicit OperationStats(bool predicts);

  bool predicts() const { return predicted_ != nullptr; }
  void add(Collective collective, uint64_t bytes, TimeNs took_ns);
  void add_predicted(Collective collective, uint64_t bytes, TimeNs took_ns, TimeNs predicted_ns);

  OperationTotals totals(Collective collective) const;
  // Only what has occurred, by collective and size.
  std::vector<PredictedTotals> predicted() const;

 private:
  // One writer, so adding needs no locked instruction.
  class Counter {
   public:
    void add(uint64_t amount) {
      value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> value_{0};
  };
  struct Totals {
    Counter operations;
    Counter bytes;
    Counter took_ns;
  };
  struct Predicted {
    Counter operations;
    Counter took_ns;
    Counter predicted_ns;
  };
  static constexpr size_t kSizes = 48;  // powers of two
  using PredictedTable = std::array<std::array<Predicted, kSizes>, kCountedCollectives>;

  std::array<Totals, kCountedCollectives> totals_;
  std::unique_ptr<PredictedTable> predicted_;  // null: not asked for
};

}  // namespace railccl
