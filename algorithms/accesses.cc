#include "algorithms/accesses.h"

#include <algorithm>

#include "algorithms/buffers.h"

namespace railccl::algorithms {
namespace {

constexpr std::string_view kNames[] = {"input", "output", "scratch"};

bool is_direct(const Access& access) {
  return access.begin.rank == access.end.rank && access.begin.position == access.end.position;
}

}  // namespace

Accesses::Accesses(const ScheduleSet& set, const Clocks& clocks)
    : set_(set), clocks_(clocks), by_others_(set.ranks.size()) {
  for (const Schedule& schedule : set.ranks) {
    memories_.insert(memories_.end(), 2, RunMap<Uses>(0));
    memories_.emplace_back(schedule.scratch_elements);
  }
  next_lap();
}

void Accesses::next_lap() {
  const Shape& shape = set_.shape;
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    for (const BufferId buffer : {BufferId::kInput, BufferId::kOutput}) {
      const size_t index = static_cast<size_t>(rank) * kBuffers + static_cast<size_t>(buffer);
      memories_[index] = RunMap<Uses>(user_blocks(shape, rank, buffer) * shape.block);
    }
  }
}

// Null for memory that nobody writes.
RunMap<Accesses::Uses>* Accesses::memory(int owner, const Slice& slice) {
  if (slice.buffer == BufferId::kInput && !set_.shape.in_place) return nullptr;
  return &memories_[static_cast<size_t>(owner) * kBuffers + static_cast<size_t>(slice.buffer)];
}

void Accesses::remember_owner(const Access& access, int owner) {
  if (owner == access.begin.rank || !is_direct(access)) return;
  by_others_[static_cast<size_t>(owner)][access.begin.rank] = access;
}

Status Accesses::read(const Access& access, int owner, const Slice& raw, uint64_t count) {
  const Slice slice = canonical(set_.shape, owner, raw);
  remember_owner(access, owner);
  RunMap<Uses>* const uses = memory(owner, slice);
  if (uses == nullptr) return Status::ok();
  Status status;
  uses->visit(slice.offset, slice.offset + count, [&](uint64_t, uint64_t, Uses& run) {
    if (status && run.written && !over(run.writer, access.begin.rank)) {
      status = unordered(access, run.writer, true, owner, slice);
    }
    // A later direct read by the same rank stands for the earlier ones.
    const bool replaces = is_direct(access) && !run.readers.empty() &&
                          is_direct(run.readers.back()) &&
                          run.readers.back().begin.rank == access.begin.rank;
    if (replaces) run.readers.pop_back();
    run.readers.push_back(access);
  });
  return status;
}

Status Accesses::write(const Access& access, int owner, const Slice& raw, uint64_t count) {
  const Slice slice = canonical(set_.shape, owner, raw);
  remember_owner(access, owner);
  RunMap<Uses>* const uses = memory(owner, slice);
  if (uses == nullptr) return Status::ok();
  Status status;
  const int rank = access.begin.rank;
  uses->visit(slice.offset, slice.offset + count, [&](uint64_t, uint64_t, Uses& run) {
    // Readers are after the writer before them, so being after all of them is enough.
    for (const Access& reader : run.readers) {
      const bool same_step =
          reader.begin.position == access.begin.position && reader.begin.rank == rank;
      if (status && !same_step && !over(reader, rank)) {
        status = unordered(access, reader, false, owner, slice);
      }
    }
    if (status && run.written && !over(run.writer, rank)) {
      status = unordered(access, run.writer, true, owner, slice);
    }
  });
  uses->replace(slice.offset, slice.offset + count,
                {.written = true, .writer = access, .readers = {}});
  return status;
}

Status Accesses::unordered(const Access& access, const Access& earlier, bool write, int owner,
                           const Slice& slice) const {
  return error(Code::kInvalidArgument,
               "rank {} step {}: its use of {} {} of rank {} (lap {}) is not ordered after the {} "
               "by rank {} step {} (lap {})",
               access.begin.rank, access.step, kNames[static_cast<size_t>(slice.buffer)],
               slice.offset, owner, access.lap, write ? "write" : "read", earlier.begin.rank,
               earlier.step, earlier.lap);
}

Status Accesses::check_ends() const {
  for (size_t owner = 0; owner < by_others_.size(); ++owner) {
    for (const auto& [rank, access] : by_others_[owner]) {
      if (over(access, static_cast<int>(owner))) continue;
      return error(Code::kInvalidArgument,
                   "rank {} step {}: rank {} can end while its memory is still used here", rank,
                   access.step, owner);
    }
  }
  return Status::ok();
}

}  // namespace railccl::algorithms
