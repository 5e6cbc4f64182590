// The kernel that serves one operation: it takes commands from its queue until it is told to end
// (cuda/queue_memory.h says how the two sides share it). The host decides; the kernel moves and
// reduces.
//
// Memory that others write meanwhile (the host, a NIC, a peer's GPU) is read past the first-level
// cache. A result is seen by everyone before its command counts as completed.
#include "cuda/arithmetic.cuh"
#include "cuda/queue_memory.h"
#include "src/base/types.h"

namespace railccl::cuda {
namespace {

constexpr uint32_t kPackBytes = 16;
constexpr int kCopyUnroll = 8;
constexpr unsigned kPollPauseNs = 40;

__device__ uint64_t read_word(const uint64_t* word) {
  uint64_t value;
  asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
  return value;
}

__device__ void write_word(uint64_t* word, uint64_t value) {
  asm volatile("st.release.sys.global.u64 [%0], %1;" : : "l"(word), "l"(value) : "memory");
}

// Between the blocks of this GPU.
__device__ uint64_t read_word_here(const uint64_t* word) {
  uint64_t value;
  asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
  return value;
}

__device__ void write_word_here(uint64_t* word, uint64_t value) {
  asm volatile("st.release.gpu.global.u64 [%0], %1;" : : "l"(word), "l"(value) : "memory");
}

template <class Word>
__device__ Word read(const Word* from) {
  return *reinterpret_cast<const volatile Word*>(from);
}
template <>
__device__ uint4 read(const uint4* from) {
  uint4 v;
  asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

__device__ CommandKind kind_of(const Command& command) {
  return static_cast<CommandKind>(static_cast<uint32_t>(command.head));
}

// The part of a command that a block has taken.
struct Tile {
  uint64_t source_offset;
  uint64_t destination_offset;
  uint64_t bytes;
};

__device__ Tile tile_of(const Command& command, uint32_t number) {
  const auto per_block = static_cast<uint32_t>(tiles_of(command.bytes));
  const uint64_t block = number / per_block;
  const uint64_t first = static_cast<uint64_t>(number % per_block) * kTileBytes;
  const uint64_t left = command.bytes - first;
  return {.source_offset = block * command.source_stride + first,
          .destination_offset = block * command.destination_stride + first,
          .bytes = left < kTileBytes ? left : kTileBytes};
}

__device__ const uint8_t* source(const Command& command, uint32_t index, const Tile& tile) {
  return reinterpret_cast<const uint8_t*>(command.sources[index]) + tile.source_offset;
}
__device__ uint8_t* destination(const Command& command, uint32_t index, const Tile& tile) {
  return reinterpret_cast<uint8_t*>(command.destinations[index]) + tile.destination_offset;
}

// The low bits of all addresses.
__device__ uint32_t misalignment(const Command& command, const Tile& tile) {
  uint64_t bits = 0;
  for (uint32_t i = 0; i < command.num_sources; ++i) {
    bits |= reinterpret_cast<uint64_t>(source(command, i, tile));
  }
  for (uint32_t i = 0; i < command.num_destinations; ++i) {
    bits |= reinterpret_cast<uint64_t>(destination(command, i, tile));
  }
  return static_cast<uint32_t>(bits % kPackBytes);
}

template <class Word>
__device__ void copy_words(const Command& command, const Tile& tile, uint64_t& done) {
  const auto* from = reinterpret_cast<const Word*>(source(command, 0, tile) + done);
  const uint64_t words = (tile.bytes - done) / sizeof(Word);
  for (uint64_t at = threadIdx.x; at < words; at += uint64_t{kCopyUnroll} * blockDim.x) {
    Word held[kCopyUnroll];
#pragma unroll
    for (int i = 0; i < kCopyUnroll; ++i) {
      if (at + i * blockDim.x < words) held[i] = read(from + at + i * blockDim.x);
    }
    for (uint32_t d = 0; d < command.num_destinations; ++d) {
      auto* to = reinterpret_cast<Word*>(destination(command, d, tile) + done);
#pragma unroll
      for (int i = 0; i < kCopyUnroll; ++i) {
        if (at + i * blockDim.x < words) to[at + i * blockDim.x] = held[i];
      }
    }
  }
  done += words * sizeof(Word);
}

// In the largest words in which all addresses are whole; what is left over byte by byte.
__device__ void copy(const Command& command, const Tile& tile) {
  uint64_t done = 0;
  const uint32_t odd = misalignment(command, tile);
  if (odd == 0) {
    copy_words<uint4>(command, tile, done);
  } else if (odd % 8 == 0) {
    copy_words<unsigned long long>(command, tile, done);
  } else if (odd % 4 == 0) {
    copy_words<uint32_t>(command, tile, done);
  } else if (odd % 2 == 0) {
    copy_words<uint16_t>(command, tile, done);
  }
  copy_words<uint8_t>(command, tile, done);
}

template <class Type>
union Pack {
  uint4 word;
  typename Type::Stored elements[kPackBytes / sizeof(typename Type::Stored)];
  __device__ Pack() {}
};

template <class Type, Combine kCombine>
__device__ void reduce_packs(const Command& command, const Tile& tile, uint64_t& done) {
  constexpr uint32_t kElements = kPackBytes / sizeof(typename Type::Stored);
  const uint64_t packs = tile.bytes / kPackBytes;
  for (uint64_t at = threadIdx.x; at < packs; at += blockDim.x) {
    typename Type::Acc acc[kElements];
    Pack<Type> pack;
    pack.word = read(reinterpret_cast<const uint4*>(source(command, 0, tile)) + at);
#pragma unroll
    for (uint32_t i = 0; i < kElements; ++i) acc[i] = Type::load(pack.elements[i]);
    for (uint32_t s = 1; s < command.num_sources; ++s) {
      pack.word = read(reinterpret_cast<const uint4*>(source(command, s, tile)) + at);
#pragma unroll
      for (uint32_t i = 0; i < kElements; ++i) {
        acc[i] = Type::template combine<kCombine>(acc[i], Type::load(pack.elements[i]));
      }
    }
#pragma unroll
    for (uint32_t i = 0; i < kElements; ++i) {
      pack.elements[i] = Type::finish(acc[i], command.divide_by);
    }
    for (uint32_t d = 0; d < command.num_destinations; ++d) {
      reinterpret_cast<uint4*>(destination(command, d, tile))[at] = pack.word;
    }
  }
  done = packs * kPackBytes;
}

template <class Type, Combine kCombine>
__device__ void reduce_elements(const Command& command, const Tile& tile, uint64_t done) {
  using Stored = typename Type::Stored;
  const uint64_t count = tile.bytes / sizeof(Stored);
  for (uint64_t at = done / sizeof(Stored) + threadIdx.x; at < count; at += blockDim.x) {
    const auto element = [&](uint32_t s) {
      return Type::load(read(reinterpret_cast<const Stored*>(source(command, s, tile)) + at));
    };
    typename Type::Acc acc = element(0);
    for (uint32_t s = 1; s < command.num_sources; ++s) {
      acc = Type::template combine<kCombine>(acc, element(s));
    }
    const Stored result = Type::finish(acc, command.divide_by);
    for (uint32_t d = 0; d < command.num_destinations; ++d) {
      reinterpret_cast<Stored*>(destination(command, d, tile))[at] = result;
    }
  }
}

template <class Type, Combine kCombine>
__device__ __noinline__ void reduce_tile(const Command& command, const Tile& tile) {
  uint64_t done = 0;
  if (misalignment(command, tile) == 0) reduce_packs<Type, kCombine>(command, tile, done);
  reduce_elements<Type, kCombine>(command, tile, done);
}

// One element at a time: a scalar is rare, and small beside the sums that follow.
template <class Type>
__device__ __noinline__ void scale_tile(const Command& command, const Tile& tile) {
  using Stored = typename Type::Stored;
  const auto scalar = Type::load(static_cast<Stored>(command.scalar));
  const auto* from = reinterpret_cast<const Stored*>(source(command, 0, tile));
  auto* to = reinterpret_cast<Stored*>(destination(command, 0, tile));
  for (uint64_t at = threadIdx.x; at < tile.bytes / sizeof(Stored); at += blockDim.x) {
    const auto value = Type::load(read(from + at));
    to[at] = Type::finish(Type::template combine<Combine::kMultiply>(value, scalar), 1);
  }
}

template <class Sums, class Order>
__device__ void compute_typed(const Command& command, const Tile& tile) {
  if (kind_of(command) == CommandKind::kScale) return scale_tile<Sums>(command, tile);
  switch (static_cast<ReduceOp>(command.op)) {
    case ReduceOp::kProd:
      return reduce_tile<Sums, Combine::kMultiply>(command, tile);
    case ReduceOp::kMax:
      return reduce_tile<Order, Combine::kMaximum>(command, tile);
    case ReduceOp::kMin:
      return reduce_tile<Order, Combine::kMinimum>(command, tile);
    default:
      return reduce_tile<Sums, Combine::kAdd>(command, tile);
  }
}

template <class T, class Unsigned, class Wide>
__device__ void compute_integers(const Command& command, const Tile& tile) {
  using Type = IntegerType<T, Unsigned, Wide>;
  compute_typed<Type, Type>(command, tile);
}
template <class Format>
__device__ void compute_floats(const Command& command, const Tile& tile) {
  compute_typed<FloatSums<Format>, FloatOrder<Format>>(command, tile);
}

__device__ void compute(const Command& command, const Tile& tile) {
  switch (static_cast<DataType>(command.type)) {
    case DataType::kInt8:
      return compute_integers<int8_t, uint8_t, int64_t>(command, tile);
    case DataType::kUint8:
      return compute_integers<uint8_t, uint8_t, uint64_t>(command, tile);
    case DataType::kInt32:
      return compute_integers<int32_t, uint32_t, int64_t>(command, tile);
    case DataType::kUint32:
      return compute_integers<uint32_t, uint32_t, uint64_t>(command, tile);
    case DataType::kInt64:
      return compute_integers<long long, unsigned long long, long long>(command, tile);
    case DataType::kUint64:
      return compute_integers<unsigned long long, unsigned long long, unsigned long long>(command,
                                                                                          tile);
    case DataType::kFloat16:
      return compute_floats<Float16>(command, tile);
    case DataType::kFloat32:
      return compute_floats<Float32>(command, tile);
    case DataType::kFloat64:
      return compute_floats<Float64>(command, tile);
    case DataType::kBfloat16:
      return compute_floats<Bfloat16>(command, tile);
    case DataType::kFloat8e4m3:
      return compute_floats<Float8e4m3>(command, tile);
    case DataType::kFloat8e5m2:
      return compute_floats<Float8e5m2>(command, tile);
  }
}

// The next tile of the command in this slot; false when all are taken, or it is over.
__device__ bool claim(QueueScratch* scratch, uint64_t number, uint32_t tiles, uint32_t& tile) {
  unsigned long long* const word = &scratch->claims[number % kQueueSlots];
  const auto lap = static_cast<uint32_t>(number / kQueueSlots);
  unsigned long long seen = *reinterpret_cast<volatile unsigned long long*>(word);
  for (;;) {
    tile = static_cast<uint32_t>(seen);
    if (static_cast<uint32_t>(seen >> 32) != lap || tile >= tiles) return false;
    const unsigned long long before = atomicCAS(word, seen, seen + 1);
    if (before == seen) return true;
    seen = before;
  }
}

// One thread, when all of its block's stores of the tile are done. The word that says so is written
// with release: what this thread has seen done is seen by everyone before it.
__device__ void finish_tile(QueueMemory* queue, QueueScratch* scratch, uint64_t number,
                            uint32_t tiles) {
  const uint32_t slot = number % kQueueSlots;
  if (tiles > 1) {
    __threadfence();
    if (atomicAdd(&scratch->finished[slot], 1) + 1 != tiles) return;
    scratch->finished[slot] = 0;
    __threadfence();
  }
  const auto next_lap = static_cast<uint32_t>(number / kQueueSlots) + 1;
  atomicExch(&scratch->claims[slot], static_cast<unsigned long long>(next_lap) << 32);
  write_word(&queue->completed[slot], number + 1);
}

// How far `a` is ahead of `b`; counts of 32 bits wrap around.
__device__ int32_t ahead(uint64_t a, uint64_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}

// The first block, all threads: passes on what the host has posted since the last time.
__device__ void pass_on(const QueueMemory* queue, QueueScratch* scratch, uint64_t& passed_on) {
  constexpr uint32_t kPacks = sizeof(Command) / kPackBytes;
  __shared__ uint64_t posted;
  if (threadIdx.x == 0) posted = read_word(&queue->posted);
  __syncthreads();
  const auto commands = static_cast<uint32_t>(max(ahead(posted, passed_on), 0));
  for (uint32_t at = threadIdx.x; at < commands * kPacks; at += blockDim.x) {
    const uint32_t slot = (static_cast<uint32_t>(passed_on) + at / kPacks) % kQueueSlots;
    reinterpret_cast<uint4*>(&scratch->slots[slot])[at % kPacks] =
        read(reinterpret_cast<const uint4*>(&queue->slots[slot]) + at % kPacks);
  }
  const bool news = posted != passed_on;
  passed_on = posted;
  __syncthreads();
  if (threadIdx.x == 0 && news) write_word_here(&scratch->posted, posted);
}

// What a block knows of its run.
struct Run {
  QueueMemory* queue;
  QueueScratch* scratch;
  uint64_t number;  // of the run
  uint64_t posted;  // the word as it was seen last; of the first block: passed on last
};

// Whether there is a command with that number, now or after a wait; false: the run is to end before
// it. All threads.
__device__ bool await(Run& run, uint64_t number) {
  __shared__ uint64_t seen;
  while (ahead(run.posted, number) <= 0 && ahead(run.posted >> 32, run.number) < 0) {
    if (blockIdx.x == 0) {
      pass_on(run.queue, run.scratch, run.posted);
      continue;
    }
    if (threadIdx.x == 0) {
      __nanosleep(kPollPauseNs);
      seen = read_word_here(&run.scratch->posted);
    }
    __syncthreads();
    run.posted = seen;
    __syncthreads();
  }
  return ahead(run.posted, number) > 0;
}

// False when its slot is used again already.
__device__ bool fetch(const QueueScratch* scratch, uint64_t number, Command& command) {
  constexpr uint32_t kPacks = sizeof(Command) / kPackBytes;
  const auto* from = reinterpret_cast<const uint4*>(&scratch->slots[number % kQueueSlots]);
  for (uint32_t at = threadIdx.x; at < kPacks; at += blockDim.x) {
    reinterpret_cast<uint4*>(&command)[at] = read(from + at);
  }
  __syncthreads();
  return static_cast<uint32_t>(command.head >> 32) == static_cast<uint32_t>(number);
}

__device__ void run_command(Run& run, const Command& command, uint64_t number) {
  __shared__ uint32_t tile_number;
  __shared__ bool taken;
  for (;;) {
    // Others may have nothing to do meanwhile.
    if (blockIdx.x == 0) pass_on(run.queue, run.scratch, run.posted);
    if (threadIdx.x == 0) taken = claim(run.scratch, number, command.tiles, tile_number);
    __syncthreads();
    if (!taken) return;
    const Tile tile = tile_of(command, tile_number);
    if (kind_of(command) == CommandKind::kCopy) {
      copy(command, tile);
    } else {
      compute(command, tile);
    }
    __syncthreads();
    if (threadIdx.x == 0) finish_tile(run.queue, run.scratch, number, command.tiles);
  }
}

// One thread of each block, when it has done its part of all commands before `number`.
__device__ void leave(QueueMemory* queue, QueueScratch* scratch, uint64_t number, uint64_t run) {
  __threadfence();
  if (atomicInc(&scratch->exits, gridDim.x - 1) != gridDim.x - 1) return;
  scratch->consumed = number;
  scratch->runs = run;
  write_word(&queue->ended, run);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(512)
    railccl_serve(QueueMemory* queue, QueueScratch* scratch) {
  __shared__ Command command;
  // Both stay as they are until the last block of this run has left.
  uint64_t number = *reinterpret_cast<volatile uint64_t*>(&scratch->consumed);
  Run run{.queue = queue,
          .scratch = scratch,
          .number = *reinterpret_cast<volatile uint64_t*>(&scratch->runs) + 1,
          .posted = 0};
  run.posted = posted_word(number, run.number - 1);
  if (blockIdx.x == 0 && threadIdx.x == 0) write_word(&queue->started, run.number);
  for (; await(run, number); ++number) {
    if (fetch(scratch, number, command)) run_command(run, command, number);
    __syncthreads();
  }
  if (threadIdx.x == 0) leave(queue, scratch, number, run.number);
}

}  // namespace railccl::cuda
