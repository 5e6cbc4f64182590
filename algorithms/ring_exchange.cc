#include "algorithms/exchange.h"

namespace railccl::algorithms {
namespace {

bool is_own(const Slices& sources) { return sources.size() == 1 && sources[0].owner == kSelf; }

// Calls visit(extent, place in a slot) for each extent of a chunk.
template <typename Visit>
void for_each_extent(const Chunk& chunk, Visit visit) {
  uint64_t within_slot = 0;
  for (const Extent& extent : chunk) {
    visit(extent, within_slot);
    within_slot += extent.part.count;
  }
}

void send_first(Builder& b, int next, const Chunks& chunks, int index, const GroupData& data,
                uint64_t slots, uint64_t own_slot) {
  for_each_extent(chunks.of(index), [&](const Extent& extent, uint64_t within) {
    const Slices sources = data.sources(extent);
    Slice from = b.scratch(own_slot + within);
    if (is_own(sources)) {
      from = sources[0];
    } else {
      b.reduce({from}, sources, extent.part.count, false);
    }
    b.put(next, from, b.scratch(slots + within), extent.part.count, Phase::kReduce, extent.number);
  });
}

}  // namespace

Group all_ranks(const Builder& b) {
  return {.ranks = b.layout().order,
          .me = b.layout().position[static_cast<size_t>(b.rank())],
          .lands_in_output = b.all_land_in_output()};
}

void ring_reduce_scatter(Builder& b, const Group& group, const Chunks& chunks,
                         const GroupData& data, bool release) {
  const int n = group.size();
  const int next = group.at(group.me + 1);
  const int previous = group.at(group.me - 1);
  const int last = n - 2;
  if (n == 1) {
    for (const Extent& extent : chunks.of(0)) {
      b.reduce(data.results(extent), data.sources(extent), extent.part.count, true);
    }
    return;
  }
  const uint64_t slots = b.allocate(static_cast<uint64_t>(n - 1) * chunks.slot);
  const uint64_t own_slot = b.allocate(chunks.slot);
  if (release) b.wait_released_by(next);
  send_first(b, next, chunks, (group.me - 1 + n) % n, data, slots, own_slot);
  for (int step = 0; step <= last; ++step) {
    const int index = ((group.me - 2 - step) % n + n) % n;
    const uint64_t slot = slots + static_cast<uint64_t>(step) * chunks.slot;
    for_each_extent(chunks.of(index), [&](const Extent& extent, uint64_t within) {
      const Slice partial = b.scratch(slot + within);
      Slices sources = data.sources(extent);
      sources.insert(sources.begin(), partial);
      b.wait(previous, Phase::kReduce, extent.number);
      if (step == last) {
        b.reduce(data.results(extent), sources, extent.part.count, true);
        return;
      }
      b.reduce({partial}, sources, extent.part.count, false);
      b.put(next, partial, b.scratch(slot + chunks.slot + within), extent.part.count,
            Phase::kReduce, extent.number);
    });
  }
  if (release) b.release_to(previous);
}

void ring_all_gather(Builder& b, const Group& group, const Chunks& chunks, const GroupData& data) {
  const int n = group.size();
  if (n == 1) return;
  const int next = group.at(group.me + 1);
  const int previous = group.at(group.me - 1);
  const bool put_to_output = b.lands_in_output(next);
  const bool lands_in_output = b.lands_in_output(previous);
  const uint64_t slots =
      group.lands_in_output ? 0 : b.allocate(static_cast<uint64_t>(n - 1) * chunks.slot);
  const auto send = [&](const Extent& extent, uint64_t slot_place) {
    const Slice place = data.landing(extent);
    b.put(next, place, put_to_output ? place : b.scratch(slot_place), extent.part.count,
          Phase::kGather, extent.number);
  };
  if (!put_to_output) b.wait_released_by(next, 1);
  for_each_extent(chunks.of(group.me),
                  [&](const Extent& extent, uint64_t within) { send(extent, slots + within); });
  for (int step = 0; step <= n - 2; ++step) {
    const uint64_t slot = slots + static_cast<uint64_t>(step) * chunks.slot;
    const Chunk received = chunks.of(((group.me - step - 1) % n + n) % n);
    for_each_extent(received, [&](const Extent& extent, uint64_t within) {
      b.wait(previous, Phase::kGather, extent.number);
      // What has landed where it belongs goes on before it is copied.
      const Slices results = data.results(extent);
      if (!lands_in_output) b.copy(results, b.scratch(slot + within), extent.part.count);
      if (step < n - 2) send(extent, slot + chunks.slot + within);
      if (lands_in_output) b.copy(results, data.landing(extent), extent.part.count);
    });
  }
  if (!lands_in_output) b.release_to(previous, 1);
}

}  // namespace railccl::algorithms
