// What the host and a resident kernel say to each other: a queue of commands in pinned host memory
// that the GPU has mapped. Plain data, read by the compilers of both sides.
//
// One queue serves one kernel at a time. All counts go on from one run to the next, so that nothing
// is reset while the other side may look: command number i (from 0) lies in slot i % kQueueSlots;
// the kernel of run r begins with the command after the last of run r - 1, and leaves when the host
// has ended r runs and all commands are done.
//
// Only the kernel's first block looks at the host's memory; what it finds there it passes on in the
// GPU's. (Measured on an H100: each further block that looks there costs all of them 0.9 us a
// command.)
//
// A command is cut into tiles. Whichever block is free takes the next tile, so one resident block
// is enough to go on: several kernels on one GPU never wait for each other's blocks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace railccl::cuda {

constexpr uint32_t kQueueSlots = 16;
constexpr uint32_t kMostOperands = 16;  // sources, and as many destinations
constexpr uint32_t kTileBytes = 65536;  // of a destination

enum class CommandKind : uint32_t { kCopy = 1, kReduce = 2, kScale = 3 };

// kCopy: `blocks` times `bytes` from sources[0] to every destination, each block that many bytes
// further on. kReduce: as ReduceWork, of `bytes`. kScale: as
// ScaleWork, with the scalar's bits in `scalar`.
struct alignas(16) Command {
  // | 63..32 number, its lower half | 31..0 kind |: one word, so that neither is seen without the
  // other
  uint64_t head;
  uint64_t bytes;  // of a destination (kCopy: of one block)
  uint64_t blocks;
  uint64_t source_stride;
  uint64_t destination_stride;
  uint64_t scalar;
  uint32_t tiles;  // of all blocks together
  uint32_t divide_by;
  uint16_t num_sources;
  uint16_t num_destinations;
  uint8_t type;  // DataType
  uint8_t op;    // ReduceOp
  uint8_t pad[2];
  uint64_t sources[kMostOperands];
  uint64_t destinations[kMostOperands];
};
static_assert(sizeof(Command) == 320);

constexpr uint64_t command_head(uint64_t number, CommandKind kind) {
  return number << 32 | static_cast<uint32_t>(kind);
}

// Both counts are compared as they wrap around.
constexpr uint64_t posted_word(uint64_t commands, uint64_t runs_ended) {
  return runs_ended << 32 | static_cast<uint32_t>(commands);
}

// Each word is written by one side only, and lies in a cache line of its own.
struct QueueMemory {
  alignas(64) uint64_t posted;   // host: | 63..32 runs that it has ended | 31..0 commands |
  alignas(64) uint64_t started;  // kernel: runs
  alignas(64) uint64_t ended;    // kernel: runs
  // Kernel, by slot: one more than the number of the command whose result everyone sees.
  alignas(64) uint64_t completed[kQueueSlots];
  alignas(64) Command slots[kQueueSlots];
};

// In the GPU's own memory; written by kernels only, from zero.
struct QueueScratch {
  uint64_t consumed;  // commands, at the end of the last run
  uint64_t runs;      // that have ended
  uint32_t exits;     // blocks of this run
  uint32_t pad;
  // By slot: | 63..32 times that the slot was used before | 31..0 tiles taken |
  unsigned long long claims[kQueueSlots];
  uint32_t finished[kQueueSlots];  // tiles done
  // What the first block has passed on.
  alignas(64) uint64_t posted;
  alignas(64) Command slots[kQueueSlots];
};

constexpr uint64_t tiles_of(uint64_t bytes) { return (bytes + kTileBytes - 1) / kTileBytes; }

}  // namespace railccl::cuda
