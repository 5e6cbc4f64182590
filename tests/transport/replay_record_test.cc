// The receiver's record against a model that keeps a flag for every byte.
#include "transport/replay_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace railccl {
namespace {

using Arrival = ReplayRecord::Arrival;
using wire::ChunkNote;

TEST(ReplayRecord, CountsEachChunkOnce) {
  ReplayRecord record;
  EXPECT_EQ(record.on_chunk(0, {.tag = 7, .offset = 0, .total = 30}, 10), Arrival::kPart);
  EXPECT_EQ(record.on_chunk(0, {.tag = 7, .offset = 0, .total = 30}, 10), Arrival::kDuplicate);
  EXPECT_EQ(record.on_chunk(0, {.tag = 7, .offset = 20, .total = 30}, 10), Arrival::kPart);
  EXPECT_EQ(record.on_chunk(0, {.tag = 7, .offset = 10, .total = 30}, 10), Arrival::kWhole);
  EXPECT_EQ(record.on_chunk(0, {.tag = 7, .offset = 10, .total = 30}, 10), Arrival::kDuplicate);
  EXPECT_EQ(record.whole_puts().puts, 1u);
}

TEST(ReplayRecord, EmptyPutsAreWholeAtOnce) {
  ReplayRecord record;
  EXPECT_EQ(record.on_chunk(1, {}, 0), Arrival::kWhole);
  EXPECT_EQ(record.on_chunk(1, {}, 0), Arrival::kDuplicate);
  EXPECT_EQ(record.whole_puts().puts, 0u);
  EXPECT_EQ(record.whole_puts().puts_above[0], 1u);
  ASSERT_EQ(record.landed().size(), 1u);
  EXPECT_EQ(record.landed()[0].intervals.size(), 1u);
  EXPECT_EQ(record.on_chunk(0, {}, 0), Arrival::kWhole);
  EXPECT_EQ(record.whole_puts().puts, 2u);
  EXPECT_TRUE(record.landed().empty());
}

TEST(ReplayRecord, RefusesWhatContradicts) {
  const ChunkNote first{.tag = 7, .offset = 10, .total = 30};
  const auto after = [&](uint32_t put, const ChunkNote& chunk, uint64_t bytes) {
    ReplayRecord record;
    EXPECT_EQ(record.on_chunk(0, first, 10), Arrival::kPart);
    return record.on_chunk(put, chunk, bytes);
  };
  EXPECT_EQ(after(0, {.tag = 8, .offset = 0, .total = 30}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = 0, .total = 31}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = 5, .total = 30}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = 15, .total = 30}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = 0, .total = 30}, 30), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = 25, .total = 30}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = ~uint64_t{0}, .total = 30}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0, {.tag = 7, .offset = 30, .total = 30}, 0), Arrival::kRefused);
  EXPECT_EQ(after(wire::kMaxOpenPuts, {.total = 10}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0x7fffffff, {.total = 10}, 10), Arrival::kRefused);
  EXPECT_EQ(after(0x80000001, {.total = 10}, 10), Arrival::kRefused);
}

struct ModelPut {
  uint64_t total = 0;
  std::vector<ChunkNote> chunks;
  std::vector<uint64_t> sizes;
  std::vector<bool> arrived;
};

// Chunks of many puts in random order, with duplicates, and sequences that wrap around.
TEST(ReplayRecord, MatchesAModelInAnyOrder) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    ReplayRecord record;
    std::map<uint32_t, ModelPut> open;
    uint32_t next = 0;
    uint32_t whole_before = 0;
    std::map<uint32_t, bool> whole;
    for (int step = 0; step < 3000; ++step) {
      if (open.size() < 8) {
        ModelPut put{.total = random() % 500};
        uint64_t offset = 0;
        do {
          const uint64_t bytes =
              put.total == 0 ? 0 : std::min(1 + random() % 100, put.total - offset);
          put.chunks.push_back({.tag = next, .offset = offset, .total = put.total});
          put.sizes.push_back(bytes);
          offset += bytes;
        } while (offset < put.total);
        put.arrived.assign(put.chunks.size(), false);
        open[next++] = put;
      }
      auto chosen = std::next(open.begin(), static_cast<ptrdiff_t>(random() % open.size()));
      ModelPut& put = chosen->second;
      const size_t chunk = random() % put.chunks.size();
      const Arrival arrival = record.on_chunk(chosen->first, put.chunks[chunk], put.sizes[chunk]);
      if (put.arrived[chunk]) {
        ASSERT_EQ(arrival, Arrival::kDuplicate);
        continue;
      }
      put.arrived[chunk] = true;
      const bool all =
          std::all_of(put.arrived.begin(), put.arrived.end(), [](bool a) { return a; });
      ASSERT_EQ(arrival, all ? Arrival::kWhole : Arrival::kPart);
      if (all) {
        whole[chosen->first] = true;
        open.erase(chosen);
      }
      while (whole.contains(whole_before)) ++whole_before;
      const wire::AckNote ack = record.whole_puts();
      ASSERT_EQ(ack.puts, whole_before);
      for (uint32_t bit = 0; bit < 128; ++bit) {
        const bool said = (ack.puts_above[bit / 64] >> (bit % 64) & 1) != 0;
        ASSERT_EQ(said, whole.contains(whole_before + 1 + bit));
      }
      for (const wire::LandedPut& landed : record.landed()) {
        const auto found = open.find(landed.put);
        if (found == open.end()) continue;
        uint64_t sum = 0;
        for (const wire::Interval& interval : landed.intervals)
          sum += interval.end - interval.begin;
        uint64_t model = 0;
        for (size_t i = 0; i < found->second.sizes.size(); ++i) {
          if (found->second.arrived[i]) model += found->second.sizes[i];
        }
        ASSERT_EQ(sum, model);
      }
    }
  }
}

}  // namespace
}  // namespace railccl
