// How fast host_compute() moves bytes: reductions and copies in the cache and in memory, against
// memcpy in the same run. bytes_per_second counts each source once and each destination once;
// "of_copy" is that over what the faster of memcpy and a streaming copy moves (read + write) for
// the same working set. Rates are per second of the thread's own time.
//
//   build/bench/compute_benchmark --benchmark_filter='reduce/.*/f32'
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "src/compute/compute.h"

namespace railccl {
namespace {

constexpr size_t kPageBytes = 4096;

struct FreeAligned {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t(kPageBytes)); }
};

// Touched, page-aligned memory; every element of every type is a small number or zero.
class Buffer {
 public:
  explicit Buffer(size_t bytes)
      : data_(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t(kPageBytes)))) {
    std::memset(data_.get(), 0x30, bytes);
  }
  std::byte* data() const { return data_.get(); }

 private:
  std::unique_ptr<std::byte[], FreeAligned> data_;
};

struct Shape {
  size_t srcs, dsts;
  size_t working_set;  // bytes over all sources and destinations
  DataType type = DataType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  bool streaming = false;
  bool in_place = false;  // the destinations are the first sources

  size_t buffer_bytes() const { return working_set / (srcs + dsts) / kPageBytes * kPageBytes; }
};

struct Buffers {
  explicit Buffers(const Shape& shape) {
    for (size_t i = 0; i < shape.srcs + shape.dsts; ++i) {
      storage.emplace_back(shape.buffer_bytes());
      (i < shape.srcs ? all_srcs : all_dsts).push_back(storage.back().data());
    }
    srcs.assign(all_srcs.begin(), all_srcs.end());
    if (shape.in_place) std::copy_n(all_srcs.begin(), shape.dsts, all_dsts.begin());
  }
  std::vector<Buffer> storage;
  std::vector<std::byte*> all_srcs, all_dsts;
  std::vector<const std::byte*> srcs;
};

double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Bytes read and written per second of this thread's time by the faster of memcpy and a streaming
// copy, the best of several passes. Measured next to each benchmark, as other work on the machine
// comes and goes.
double copy_bytes_per_second(size_t working_set) {
  const Buffers buffers({.srcs = 1, .dsts = 1, .working_set = working_set});
  const size_t bytes = working_set / 2 / kPageBytes * kPageBytes;
  const size_t repeats = std::max<size_t>(1, (size_t{64} << 20) / working_set);
  double best = 0;
  for (int pass = 0; pass < 10; ++pass) {
    const double start = thread_cpu_seconds();
    for (size_t i = 0; i < repeats; ++i) {
      if (pass % 2 == 0) {
        std::memcpy(buffers.all_dsts[0], buffers.all_srcs[0], bytes);
      } else {
        host_compute().submit(CopyWork{
            .dsts = buffers.all_dsts, .src = buffers.srcs[0], .bytes = bytes, .streaming = true});
      }
      benchmark::ClobberMemory();
    }
    const double took = thread_cpu_seconds() - start;
    best = std::max(best, 2.0 * static_cast<double>(bytes * repeats) / took);
  }
  return best;
}

void report(benchmark::State& state, const Shape& shape) {
  const double moved = static_cast<double>((shape.srcs + shape.dsts) * shape.buffer_bytes()) *
                       static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<int64_t>(moved));
  state.counters["of_copy"] = benchmark::Counter(moved / copy_bytes_per_second(shape.working_set),
                                                 benchmark::Counter::kIsRate);
}

void run_reduce(benchmark::State& state, const Shape& shape) {
  const Buffers buffers(shape);
  const ReduceWork work{.dsts = buffers.all_dsts,
                        .srcs = buffers.srcs,
                        .count = shape.buffer_bytes() / element_bytes(shape.type),
                        .type = shape.type,
                        .op = shape.op,
                        .divide_by = shape.op == ReduceOp::kAvg ? 3u : 1u,
                        .streaming = shape.streaming};
  for (auto _ : state) {
    host_compute().submit(work);
    benchmark::ClobberMemory();
  }
  report(state, shape);
}

void run_copy(benchmark::State& state, const Shape& shape) {
  const Buffers buffers(shape);
  const CopyWork work{.dsts = buffers.all_dsts,
                      .src = buffers.srcs[0],
                      .bytes = shape.buffer_bytes(),
                      .streaming = shape.streaming};
  for (auto _ : state) {
    host_compute().submit(work);
    benchmark::ClobberMemory();
  }
  report(state, shape);
}

// STREAM's triad as a compiler writes it, for scale.
void run_triad(benchmark::State& state, size_t working_set) {
  const Shape shape{.srcs = 2, .dsts = 1, .working_set = working_set};
  const Buffers buffers(shape);
  const auto* b = reinterpret_cast<const float*>(buffers.srcs[0]);
  const auto* c = reinterpret_cast<const float*>(buffers.srcs[1]);
  auto* a = reinterpret_cast<float*>(buffers.all_dsts[0]);
  const size_t count = shape.buffer_bytes() / sizeof(float);
  for (auto _ : state) {
    for (size_t i = 0; i < count; ++i) a[i] = b[i] + 3.0f * c[i];
    benchmark::ClobberMemory();
  }
  report(state, shape);
}

std::string size_name(size_t bytes) {
  return bytes >= size_t{1} << 20 ? fmt::format("{}M", bytes >> 20)
                                  : fmt::format("{}K", bytes >> 10);
}

void add_reduce(const Shape& shape) {
  const std::string name =
      fmt::format("reduce/{}to{}/{}/{}/{}{}{}", shape.srcs, shape.dsts, data_type_name(shape.type),
                  reduce_op_name(shape.op), size_name(shape.working_set),
                  shape.streaming ? "/streaming" : "", shape.in_place ? "/in_place" : "");
  benchmark::RegisterBenchmark(name.c_str(), [=](auto& state) { run_reduce(state, shape); });
}

void add_copy(const Shape& shape) {
  const std::string name = fmt::format("copy/1to{}/{}{}", shape.dsts, size_name(shape.working_set),
                                       shape.streaming ? "/streaming" : "");
  benchmark::RegisterBenchmark(name.c_str(), [=](auto& state) { run_copy(state, shape); });
}

constexpr size_t kMemory = size_t{256} << 20;

void add_shapes() {
  struct Fan {
    size_t srcs, dsts;
  };
  for (const Fan fan : {Fan{2, 1}, Fan{2, 2}, Fan{4, 1}, Fan{4, 4}, Fan{8, 1}, Fan{16, 1}}) {
    for (DataType type : {DataType::kFloat32, DataType::kBfloat16}) {
      for (size_t bytes : {size_t{32} << 10, size_t{256} << 10, size_t{1} << 20, kMemory}) {
        Shape shape{.srcs = fan.srcs, .dsts = fan.dsts, .working_set = bytes, .type = type};
        add_reduce(shape);
        shape.streaming = true;
        if (bytes == kMemory) add_reduce(shape);
      }
    }
  }
}

// One rank's part of an AllReduce of two: half of the elements of both, to both. `bytes`: of the
// call's buffer.
void add_places() {
  for (size_t bytes : {size_t{64} << 10, size_t{256} << 10, size_t{1} << 20, size_t{4} << 20}) {
    Shape shape{.srcs = 2, .dsts = 2, .working_set = 2 * bytes};
    add_reduce(shape);
    shape.in_place = true;
    add_reduce(shape);
  }
}

void add_types() {
  for (int i = 0; i < kDataTypes; ++i) {
    for (ReduceOp op : {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMax, ReduceOp::kAvg}) {
      Shape shape{.srcs = 2,
                  .dsts = 1,
                  .working_set = size_t{128} << 10,
                  .type = static_cast<DataType>(i),
                  .op = op};
      add_reduce(shape);
      shape.working_set = kMemory;
      shape.streaming = true;
      add_reduce(shape);
    }
  }
}

const bool registered = [] {
  for (size_t bytes : {size_t{32} << 10, size_t{1} << 20, kMemory}) {
    benchmark::RegisterBenchmark(fmt::format("triad/{}", size_name(bytes)).c_str(),
                                 [=](auto& state) { run_triad(state, bytes); });
  }
  for (size_t dsts : {1, 2, 4}) {
    for (bool streaming : {false, true}) {
      add_copy({.srcs = 1, .dsts = dsts, .working_set = kMemory, .streaming = streaming});
    }
  }
  add_shapes();
  add_places();
  add_types();
  return true;
}();

}  // namespace
}  // namespace railccl
