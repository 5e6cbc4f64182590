// One rank's buffers of a checked operation: fills them before the call, and afterwards compares
// every element of the output, and a guard behind it, with what must be there. Pure but for the
// buffers; used by the rank's own thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "perftest/common/collective.h"
#include "perftest/common/pattern.h"

namespace railccl::perftest {

// Bytes behind the largest output that a collective must leave alone.
constexpr size_t kGuardBytes = 64;

// Where the call's buffers lie in the two that a rank has.
struct Placement {
  bool in_place = false;
  uint64_t send_offset = 0;  // elements, in place from the begin of the receive buffer
  uint64_t recv_offset = 0;
};
Placement place(const Layout& layout, int rank, bool in_place);

struct Buffers {
  std::byte* send = nullptr;
  std::byte* recv = nullptr;  // both: the largest message and kGuardBytes
};

class CheckedOperation {
 public:
  CheckedOperation(const Collective& collective, const Layout& layout, const Position& position,
                   const Pattern& pattern, bool in_place);

  // What both use of the buffers; send: nothing in place.
  size_t send_bytes() const;
  size_t recv_bytes() const;
  // The output is filled with a value that is no result, then the input is written.
  void prepare(const Buffers& buffers) const;
  // Elements of the output that are wrong, and 1 more if the guard was written to.
  uint64_t count_wrong(const Buffers& buffers) const;

 private:
  uint64_t recv_end() const;
  void write_expected(const Expected& part, uint64_t output_begin, uint64_t begin, uint64_t count,
                      std::byte* out) const;
  void write_untouched(uint64_t begin, uint64_t count, std::byte* out) const;
  uint64_t wrong_in_part(const Expected& part, uint64_t output_begin,
                         const std::byte* output) const;

  const Collective& collective_;
  Layout layout_;
  Position position_;
  Pattern pattern_;
  Placement placement_;
  size_t element_bytes_;
};

}  // namespace railccl::perftest
