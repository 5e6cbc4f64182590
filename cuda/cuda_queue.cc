#include "cuda/cuda_queue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

namespace railccl::cuda {
namespace {

uint64_t read(uint64_t& word) { return std::atomic_ref(word).load(std::memory_order_acquire); }
void write(uint64_t& word, uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

uint64_t number_of(const void* pointer) { return std::bit_cast<uint64_t>(pointer); }

void set_bytes(Command& command, uint64_t bytes, uint64_t blocks) {
  command.bytes = bytes;
  command.blocks = blocks;
  command.tiles = static_cast<uint32_t>(tiles_of(bytes) * blocks);
}

}  // namespace

bool CudaQueue::started() const { return read(place_->memory->started) >= place_->runs; }

static_assert(kMostOperands == kMostDeviceOperands);

// More operands than a command holds are never asked for: whoever plans for the GPU knows the
// limit.
Compute::Ticket CudaQueue::submit(const ReduceWork& work) {
  Command command{};
  command.num_sources = static_cast<uint16_t>(work.srcs.size());
  command.num_destinations = static_cast<uint16_t>(work.dsts.size());
  command.type = static_cast<uint8_t>(work.type);
  command.op = static_cast<uint8_t>(work.op);
  command.divide_by = std::max(work.divide_by, 1U);
  std::ranges::transform(work.srcs, command.sources, number_of);
  std::ranges::transform(work.dsts, command.destinations, number_of);
  set_bytes(command, work.count * element_bytes(work.type), 1);
  const bool is_copy = work.srcs.size() == 1 && command.divide_by == 1;
  return add(command, is_copy ? CommandKind::kCopy : CommandKind::kReduce);
}

Compute::Ticket CudaQueue::submit(const CopyWork& work) {
  Command command{};
  command.num_sources = 1;
  command.num_destinations = static_cast<uint16_t>(work.dsts.size());
  command.sources[0] = number_of(work.src);
  std::ranges::transform(work.dsts, command.destinations, number_of);
  set_bytes(command, work.bytes, 1);
  return add(command, CommandKind::kCopy);
}

Compute::Ticket CudaQueue::submit(const ScaleWork& work) {
  Command command{};
  command.num_sources = 1;
  command.num_destinations = 1;
  command.type = static_cast<uint8_t>(work.type);
  command.sources[0] = number_of(work.src);
  command.destinations[0] = number_of(work.dst);
  std::memcpy(&command.scalar, work.scalar, element_bytes(work.type));
  set_bytes(command, work.count * element_bytes(work.type), 1);
  return add(command, CommandKind::kScale);
}

Compute::Ticket CudaQueue::submit(const BlockCopy& copy) {
  Command command{};
  command.num_sources = 1;
  command.num_destinations = 1;
  command.sources[0] = number_of(copy.src);
  command.destinations[0] = number_of(copy.dst);
  command.source_stride = copy.src_stride;
  command.destination_stride = copy.dst_stride;
  set_bytes(command, copy.bytes, copy.blocks);
  return add(command, CommandKind::kCopy);
}

Compute::Ticket CudaQueue::add(Command command, CommandKind kind) {
  if (command.tiles == 0) return 0;  // of no bytes: done
  const uint64_t number = next_++;
  command.head = command_head(number, kind);
  post_waiting();
  if (!waiting_.empty() || !post(command, number)) waiting_.push_back(command);
  return number + 1;
}

bool CudaQueue::post(const Command& command, uint64_t number) {
  QueueMemory& memory = *place_->memory;
  const uint64_t slot = number % kQueueSlots;
  const bool used_before = number >= kQueueSlots;
  if (used_before && read(memory.completed[slot]) != number + 1 - kQueueSlots) return false;
  // A block that is late may read the slot meanwhile, and will find that it has no part in it.
  memory.slots[slot] = command;
  place_->posted = number + 1;
  write(memory.posted, posted_word(place_->posted, place_->ended_runs));
  return true;
}

void CudaQueue::post_waiting() {
  while (!waiting_.empty() && post(waiting_.front(), next_ - waiting_.size())) waiting_.pop_front();
  if (!waiting_.empty() || !ending_) return;
  ending_ = false;
  place_->ended_runs = place_->runs;
  write(place_->memory->posted, posted_word(place_->posted, place_->ended_runs));
}

void CudaQueue::end() {
  ending_ = true;
  post_waiting();
}

void CudaQueue::cancel() {
  next_ -= waiting_.size();
  waiting_.clear();
  end();
}

bool CudaQueue::ended() {
  post_waiting();
  return place_->ended();
}

bool CudaQueue::done(Ticket ticket) {
  if (ticket == 0) return true;
  post_waiting();
  return read(place_->memory->completed[(ticket - 1) % kQueueSlots]) >= ticket;
}

}  // namespace railccl::cuda
