// From the slices of a schedule to memory: pointers where this process can load and store,
// cross-memory attach through a bounce buffer where it cannot. Threading: the driver of the
// communicator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/schedule.h"
#include "src/base/status.h"
#include "src/compute/compute.h"
#include "src/core/call.h"
#include "src/core/device_domain.h"
#include "src/core/local_domain.h"

namespace railccl {

// The scratch of this rank (alone on its node) or of all ranks of its node.
struct ScratchView {
  std::byte* own = nullptr;
  uint64_t bytes = 0;
  LocalDomain* local = nullptr;  // for those of local peers
  uint64_t skip = 0;             // bytes in front that are for point-to-point slots

  std::byte* of(int local_index) const { return local->scratch(local_index) + skip; }
};

// Where the piece at hand lies: first element of each block, and offset of its scratch slot.
struct OperandPlace {
  uint64_t first_element = 0;
  uint64_t slot_offset = 0;  // bytes
};

class Operands {
 public:
  // `device`: may be null, then no call is on a device.
  Operands(std::shared_ptr<const Layout> layout, LocalDomain* local, const DeviceDomain* device,
           const ScratchView& scratch)
      : layout_(std::move(layout)), local_(local), device_(device), scratch_(scratch) {}

  // `input` may differ from the call's (a scaled copy).
  void begin(const Call& call, const std::byte* input, uint64_t sequence) {
    call_ = call;
    call_.input = input;
    sequence_ = sequence;
  }

  std::byte* own(const Slice& slice, const OperandPlace& place) const;

  struct Work {
    std::span<const Slice> dsts;
    std::span<const Slice> srcs;
    uint64_t begin = 0;  // elements within the step
    uint64_t count = 0;
    ReduceOp op = ReduceOp::kSum;
    uint32_t divide_by = 1;
    bool streaming = false;
  };
  // One block of a kReduce, kCopy or local kPut: as many elements as `work.count`, at most
  // max_block(). Every owner must be ready.
  Result<Compute::Ticket> compute(const Work& work, const OperandPlace& place, Compute& compute);
  // How others reach a buffer of the call.
  BufferHandle handle_of(const std::byte* buffer, uint64_t bytes) const;
  // Elements to hand to compute() at once.
  uint64_t max_block() const;

 private:
  // A place in memory of this process, or of another one.
  struct Reach {
    std::byte* pointer = nullptr;  // null: through `handle` of local peer `index`
    int index = -1;
    BufferHandle handle;
    uint64_t offset = 0;

    // One may be an input and the other an output, which have handles of their own.
    bool same_place(const Reach& other) const {
      if (pointer != nullptr || other.pointer != nullptr) return pointer == other.pointer;
      return index == other.index && handle.kind == other.handle.kind &&
             handle.segment == other.handle.segment &&
             handle.offset + offset == other.handle.offset + other.offset;
    }
  };
  Result<std::byte*> map(int index, const BufferHandle& handle) const;
  Result<Reach> reach(const Slice& slice, const OperandPlace& place, uint64_t begin);
  Result<bool> reach_all(const Work& work, const OperandPlace& place, uint64_t begin);
  std::byte* take_pointers(size_t bytes);
  bool take_own_pointers(const Work& work, const OperandPlace& place);
  Compute::Ticket submit(const Work& work, uint64_t count, Compute& compute) const;
  Status fetch(std::vector<Reach>& srcs, size_t bytes);
  std::byte* bounce(size_t index, size_t bytes);

  std::shared_ptr<const Layout> layout_;
  LocalDomain* local_;
  const DeviceDomain* device_;
  ScratchView scratch_;
  Call call_;
  uint64_t sequence_ = 0;
  std::vector<std::byte> bounce_;
  std::vector<Reach> src_reach_;
  std::vector<Reach> dst_reach_;
  std::vector<const std::byte*> src_pointers_;
  std::vector<std::byte*> dst_pointers_;
};

}  // namespace railccl
