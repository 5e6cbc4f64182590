// Where everything lies in the segment of a local domain. For n ranks:
//
//   header            1 page     magic, token, sizes, abort flag
//   doorbells         n words    rank i's sleep word
//   states            n x 384 B  rank i: who it is, what it can do, how far it is
//   hints             n x 64 B   receiver i: one byte per sender (more lines from 65 ranks on)
//   rings             n x n      receiver i, sender j: 128 tags
//   boards            n x 16     rank i: its ready records
//   small areas       n x 72 KiB rank i: its contributions to small collectives
//   scratch           n x as asked
//
// What one rank writes, or reads all the time, begins at a page, so that it lies on the NUMA node
// of the rank that touches it first. Untouched pages cost nothing: a rank of a node with 8 ranks
// touches about 9 KiB (rings) + 4 KiB (board) + up to 72 KiB (small collectives) of its own,
// besides its scratch.
//
// All zero is the valid beginning of every structure here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "src/core/local_domain.h"
#include "src/core/local_memory_file.h"

namespace railccl {

constexpr size_t kCacheLine = 64;
constexpr int kMaxLocalRanks = 512;

static_assert(std::atomic<uint64_t>::is_always_lock_free &&
              std::atomic<uint32_t>::is_always_lock_free &&
              std::atomic<uint8_t>::is_always_lock_free);

struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t ranks;
  uint64_t bytes;
  uint64_t scratch_bytes;
  uint64_t token[2];
  alignas(kCacheLine) std::atomic<uint32_t> abort;
};
static_assert(sizeof(SegmentHeader) <= kPageBytes);

// Written by its rank alone.
struct alignas(kCacheLine) RankState {
  // 0 not there; kPresent: what follows up to `cores` is valid; kVoted: `votes` too.
  std::atomic<uint32_t> stage;
  uint32_t pid;
  int32_t segment_fd;  // the segment as open in that process
  uint32_t votes;
  uint64_t network_namespace;
  uint64_t probe_address;  // of a word in that process's private memory that holds probe_value
  uint64_t probe_value;
  uint64_t cores[16];  // bit mask of the cores it may run on
  // How far it is; each in its own line, since others look at them while the rank goes on.
  alignas(kCacheLine) std::atomic<uint64_t> finished;
  alignas(kCacheLine) std::atomic<uint64_t> small_done;
  // 1: it may be reaching into other ranks' memory.
  alignas(kCacheLine) std::atomic<uint32_t> inside;
};
static_assert(sizeof(RankState) == 6 * kCacheLine);

// One sender, one receiver. The number of tags that were ever sent is the sender's byte in the
// receiver's hint line (modulo 256).
struct alignas(kCacheLine) NotificationRing {
  static constexpr uint32_t kTags = 128;  // < 256, so that the byte is unambiguous
  uint64_t tags[kTags];
  alignas(kCacheLine) std::atomic<uint32_t> taken;  // by the receiver, ever
};

constexpr uint64_t kBoardSlots = 16;
struct alignas(2 * kCacheLine) BoardSlot {
  ReadyRecord record;  // record.sequence is written last, and read first
};
static_assert(sizeof(BoardSlot) == 128 && sizeof(BoardSlot) * kBoardSlots <= kPageBytes);

// A rank's part in small collectives. Up to 56 bytes travel in a line with the flag; more lie in a
// payload slot behind a flag of its own, so that the data follows without another wait. Lines are
// many, so that a rank can run far ahead of the slowest; payload slots are few, so that they stay
// in the cache.
constexpr uint64_t kSmallLines = 64;
constexpr uint64_t kSmallPayloads = 8;
constexpr size_t kLineData = kCacheLine - sizeof(uint64_t);

struct alignas(kCacheLine) SmallLine {
  std::atomic<uint64_t> flag;  // counter and hash of the call, see local_small.h
  std::byte data[kLineData];
};
static_assert(sizeof(SmallLine) == kCacheLine);

struct alignas(kCacheLine) SmallPayload {
  std::atomic<uint64_t> flag;
  std::byte data[LocalDomain::kMaxSmallBytes];
};

// For the report of a mismatch; not read otherwise.
struct SmallNote {
  std::atomic<uint64_t> fingerprint;
  std::atomic<uint64_t> sequence;  // written after the fingerprint
};

struct alignas(kPageBytes) SmallArea {
  SmallLine lines[kSmallLines];
  SmallNote notes[kSmallLines];
  SmallPayload payloads[kSmallPayloads];
};

// Offsets and strides, in bytes.
struct SegmentLayout {
  SegmentLayout(int ranks, size_t scratch_bytes);

  int ranks;
  size_t hint_bytes;      // per receiver: a multiple of a line
  size_t ring_stride;     // per receiver
  size_t scratch_stride;  // per rank

  size_t doorbells;
  size_t states;
  size_t hints;
  size_t rings;
  size_t boards;
  size_t smalls;
  size_t scratch;
  size_t total;
};

inline SegmentLayout::SegmentLayout(int n, size_t scratch_bytes)
    : ranks(n),
      hint_bytes(round_up(static_cast<size_t>(n), kCacheLine)),
      ring_stride(round_up(static_cast<size_t>(n) * sizeof(NotificationRing), kPageBytes)),
      scratch_stride(round_up(scratch_bytes, kPageBytes)),
      doorbells(kPageBytes),
      states(doorbells + round_up(static_cast<size_t>(n) * sizeof(uint32_t), kCacheLine)),
      hints(states + static_cast<size_t>(n) * sizeof(RankState)),
      rings(round_up(hints + static_cast<size_t>(n) * hint_bytes, kPageBytes)),
      boards(rings + static_cast<size_t>(n) * ring_stride),
      smalls(boards + static_cast<size_t>(n) * kPageBytes),
      scratch(smalls + static_cast<size_t>(n) * sizeof(SmallArea)),
      total(scratch + static_cast<size_t>(n) * scratch_stride) {}

}  // namespace railccl
