#include "src/core/operands.h"

#include <algorithm>

namespace railccl {
namespace {

constexpr size_t kBounceBytes =
    131072;  // per source; fits the second-level cache with some siblings
constexpr size_t kBlockBytes = 1048576;  // between two looks at the network

}  // namespace

std::byte* Operands::own(const Slice& slice, const OperandPlace& place) const {
  const size_t element = call_.element();
  switch (slice.buffer) {
    case BufferId::kInput:
      return const_cast<std::byte*>(call_.input) + (place.first_element + slice.offset) * element;
    case BufferId::kOutput:
      return call_.output + (place.first_element + slice.offset) * element;
    case BufferId::kScratch:
      return scratch_.own + place.slot_offset + slice.offset * element;
  }
  return nullptr;
}

uint64_t Operands::max_block() const {
  if (call_.on_device != nullptr) return UINT64_MAX;  // it works by itself
  return kBlockBytes / call_.element();
}

BufferHandle Operands::handle_of(const std::byte* buffer, uint64_t bytes) const {
  if (call_.on_device == nullptr || bytes == 0) return LocalDomain::handle_of(buffer, bytes);
  return {.kind = BufferHandle::Kind::kDevice,
          .offset = static_cast<uint64_t>(buffer - device_->own().address),
          .bytes = bytes};
}

// Null: only copies reach it.
Result<std::byte*> Operands::map(int index, const BufferHandle& handle) const {
  const bool on_device = handle.kind == BufferHandle::Kind::kDevice;
  if (handle.kind != BufferHandle::Kind::kNone && on_device != (call_.on_device != nullptr)) {
    return error(
        Code::kMismatch,
        "operation {} is called with memory of the {} on this rank and of the {} on another "
        "one of its node",
        sequence_, on_device ? "host" : "GPU", on_device ? "GPU" : "host");
  }
  return on_device ? device_->of(index) + handle.offset : local_->map(index, handle);
}

Result<Operands::Reach> Operands::reach(const Slice& slice, const OperandPlace& place,
                                        uint64_t begin) {
  const size_t element = call_.element();
  Reach result;
  if (slice.owner == kSelf) {
    result.pointer = own(slice, place) + begin * element;
    return result;
  }
  result.index = layout_->local_index[static_cast<size_t>(slice.owner)];
  if (slice.buffer == BufferId::kScratch) {
    result.pointer =
        scratch_.of(result.index) + place.slot_offset + (slice.offset + begin) * element;
    return result;
  }
  const ReadyRecord* ready = local_->ready(result.index, sequence_);
  if (ready == nullptr) {
    return error(Code::kInternalError, "buffers of rank {} were used before it was ready",
                 slice.owner);
  }
  result.handle = slice.buffer == BufferId::kInput ? ready->input : ready->output;
  result.offset = (place.first_element + slice.offset + begin) * element;
  RAILCCL_ASSIGN(std::byte* const base, map(result.index, result.handle));
  if (base != nullptr) result.pointer = base + result.offset;
  return result;
}

std::byte* Operands::bounce(size_t index, size_t bytes) {
  const size_t needed = (index + 1) * kBounceBytes;
  if (bounce_.size() < needed) bounce_.resize(needed);
  return bytes <= kBounceBytes ? bounce_.data() + index * kBounceBytes : nullptr;
}

Status Operands::fetch(std::vector<Reach>& srcs, size_t bytes) {
  // Growing the bounce buffer moves it, so it reaches its size before pointers into it are taken.
  bounce(srcs.size(), 0);
  for (size_t i = 0; i < srcs.size(); ++i) {
    Reach& src = srcs[i];
    if (src.pointer != nullptr) continue;
    std::byte* place = bounce(i, bytes);
    RAILCCL_TRY(local_->copy_from(src.index, src.handle, src.offset, place, bytes));
    src.pointer = place;
  }
  return Status::ok();
}

// Where the operands lie from element `begin` of the step on; whether all can be loaded and stored.
Result<bool> Operands::reach_all(const Work& work, const OperandPlace& place, uint64_t begin) {
  src_reach_.clear();
  dst_reach_.clear();
  bool all_mapped = true;
  for (const Slice& slice : work.srcs) {
    RAILCCL_ASSIGN(Reach src, reach(slice, place, begin));
    all_mapped &= src.pointer != nullptr;
    src_reach_.push_back(src);
  }
  for (const Slice& slice : work.dsts) {
    RAILCCL_ASSIGN(Reach dst, reach(slice, place, begin));
    // The owner's call is in place: what would be copied there is there.
    if (src_reach_.size() == 1 && dst.same_place(src_reach_[0])) continue;
    all_mapped &= dst.pointer != nullptr;
    dst_reach_.push_back(dst);
  }
  return all_mapped;
}

// The pointers to work on; returns the bounce buffer that stands for all targets that cannot be
// stored to, null when there are none.
std::byte* Operands::take_pointers(size_t bytes) {
  src_pointers_.clear();
  dst_pointers_.clear();
  for (const Reach& src : src_reach_) src_pointers_.push_back(src.pointer);
  std::byte* computed = nullptr;
  for (const Reach& dst : dst_reach_) {
    std::byte* target = dst.pointer;
    if (target == nullptr && computed == nullptr) {
      computed = target = bounce(src_reach_.size(), bytes);
    }
    if (target != nullptr) dst_pointers_.push_back(target);
  }
  return computed;
}

// False: some are not this rank's own.
bool Operands::take_own_pointers(const Work& work, const OperandPlace& place) {
  const auto is_own = [](const Slice& slice) { return slice.owner == kSelf; };
  if (!std::ranges::all_of(work.srcs, is_own) || !std::ranges::all_of(work.dsts, is_own)) {
    return false;
  }
  const size_t first = work.begin * call_.element();
  src_pointers_.clear();
  dst_pointers_.clear();
  for (const Slice& src : work.srcs) src_pointers_.push_back(own(src, place) + first);
  for (const Slice& dst : work.dsts) dst_pointers_.push_back(own(dst, place) + first);
  return true;
}

Compute::Ticket Operands::submit(const Work& work, uint64_t count, Compute& compute) const {
  if (work.srcs.size() == 1) {
    return compute.submit(CopyWork{.dsts = dst_pointers_,
                                   .src = src_pointers_[0],
                                   .bytes = count * call_.element(),
                                   .streaming = work.streaming});
  }
  return compute.submit(ReduceWork{.dsts = dst_pointers_,
                                   .srcs = src_pointers_,
                                   .count = count,
                                   .type = call_.type,
                                   .op = work.op,
                                   .divide_by = work.divide_by,
                                   .streaming = work.streaming});
}

Result<Compute::Ticket> Operands::compute(const Work& work, const OperandPlace& place,
                                          Compute& compute) {
  if (take_own_pointers(work, place)) return submit(work, work.count, compute);
  const size_t element = call_.element();
  Compute::Ticket ticket = 0;
  uint64_t done = 0;
  while (done < work.count) {
    RAILCCL_ASSIGN(const bool all_mapped, reach_all(work, place, work.begin + done));
    if (dst_reach_.empty()) return ticket;
    const uint64_t left = work.count - done;
    const uint64_t block = all_mapped ? left : std::min(left, kBounceBytes / element);
    const size_t bytes = block * element;
    if (!all_mapped) RAILCCL_TRY(fetch(src_reach_, bytes));
    std::byte* const computed = take_pointers(bytes);
    ticket = submit(work, block, compute);
    for (const Reach& dst : dst_reach_) {
      if (dst.pointer != nullptr) continue;
      RAILCCL_TRY(local_->copy_to(dst.index, dst.handle, dst.offset, computed, bytes));
    }
    done += block;
  }
  return ticket;
}

}  // namespace railccl
