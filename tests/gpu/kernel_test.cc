// The kernel on a real GPU against the host's kernels, bit by bit: every type and operator, odd
// counts and addresses, all values that bits can make. Ends with 77 where there is no GPU.
//
// Also printed: what the GPU copies and reduces per second, beside a plain copy of the driver's.
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "cuda/cuda_device.h"
#include "cuda/driver.h"
#include "cuda/memory.h"

namespace railccl {
namespace {

using Clock = std::chrono::steady_clock;

// What the library leaves to the program: to load and initialise the driver, and to choose a GPU.
class Program {
 public:
  static bool start(const char*& reason) {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) return reason = "there is no CUDA driver", false;
    const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(library, "cuInit"));
    if (init(0) != 0) return reason = "there is no GPU", false;
    driver_ = cuda::find_driver();
    if (driver_ == nullptr) return reason = "the CUDA driver is too old", false;
    cuda::Context context = nullptr;
    if (driver_->primary_context_retain(&context, 0) != 0) return reason = "no GPU 0", false;
    driver_->context_push(context);
    copy_ = reinterpret_cast<Copy>(dlsym(library, "cuMemcpy"));
    synchronize_ = reinterpret_cast<int (*)()>(dlsym(library, "cuCtxSynchronize"));
    return true;
  }
  static void copy(const void* to, const void* from, size_t bytes) {
    if (copy_(reinterpret_cast<uintptr_t>(to), reinterpret_cast<uintptr_t>(from), bytes) != 0) {
      fmt::print("cuMemcpy failed\n");
      std::abort();
    }
  }
  static void synchronize() { synchronize_(); }

 private:
  using Copy = int (*)(unsigned long long to, unsigned long long from, size_t bytes);
  static inline const cuda::Driver* driver_ = nullptr;
  static inline Copy copy_ = nullptr;
  static inline int (*synchronize_)() = nullptr;
};

std::byte* on_device(size_t bytes) {
  auto memory = cuda::allocate(bytes);
  if (!memory) {
    fmt::print("{}\n", memory.error().message());
    std::abort();
  }
  return static_cast<std::byte*>(*memory);
}

// One launch; false after 20 s.
template <class Submit>
bool run(Device& device, const Submit& submit) {
  const DeviceStream stream = nullptr;
  const auto launched = device.launch({&stream, 1}, [](const Device::Launch&) {});
  if (!launched) {
    fmt::print("{}\n", launched.error().message());
    return false;
  }
  DeviceQueue& queue = *launched->queues[0];
  queue.begin();
  const Compute::Ticket ticket = submit(queue);
  queue.end();
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (!queue.done(ticket) || !queue.ended()) {
    if (Clock::now() > deadline) return fmt::print("the kernel does not answer\n"), false;
  }
  return true;
}

constexpr size_t kMost = 300'000;  // bytes of an operand; more than four tiles
constexpr size_t kOperands = 4;
constexpr size_t kRoom = kMost + 64;

struct Operands {
  std::vector<std::byte> host = std::vector<std::byte>(kRoom * (kOperands + 2));
  std::byte* device = on_device(kRoom * (kOperands + 2));

  explicit Operands(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (size_t i = 0; i + 8 <= host.size(); i += 8) {
      const uint64_t bits = random();
      std::memcpy(&host[i], &bits, 8);
    }
  }
  void send() const { Program::copy(device, host.data(), host.size()); }
};

struct Case {
  DataType type;
  ReduceOp op;
  size_t sources;
  size_t count;
  size_t shift;  // elements, of every operand but the first
  uint32_t divide_by;
};

std::string describe(const Case& one) {
  return fmt::format("{} {} of {} sources, {} elements, shifted by {}, divided by {}",
                     reduce_op_name(one.op), data_type_name(one.type), one.sources, one.count,
                     one.shift, one.divide_by);
}

// Both sides compute on operands of the same content; the places are the same within each.
bool agrees(Device& device, const Operands& operands, const Case& one) {
  const size_t shift = one.shift * element_bytes(one.type);
  std::vector<std::byte> expected = operands.host;
  const auto work = [&](std::byte* base, std::vector<const std::byte*>& srcs,
                        std::vector<std::byte*>& dsts) {
    for (size_t i = 0; i < one.sources; ++i) srcs.push_back(base + i * kRoom + (i > 0 ? shift : 0));
    dsts = {base + kOperands * kRoom + shift, base + (kOperands + 1) * kRoom};
    return ReduceWork{.dsts = dsts,
                      .srcs = srcs,
                      .count = one.count,
                      .type = one.type,
                      .op = one.op,
                      .divide_by = one.divide_by};
  };
  std::vector<const std::byte*> srcs;
  std::vector<std::byte*> dsts;
  host_compute().submit(work(expected.data(), srcs, dsts));
  srcs.clear();
  operands.send();
  const ReduceWork device_work = work(operands.device, srcs, dsts);
  if (!run(device, [&](DeviceQueue& queue) { return queue.submit(device_work); })) return false;
  std::vector<std::byte> got(operands.host.size());
  Program::copy(got.data(), operands.device, got.size());
  const auto differs = std::ranges::mismatch(got, expected);
  if (differs.in1 == got.end()) return true;
  const auto at = static_cast<size_t>(differs.in1 - got.begin());
  fmt::print("FAILED: {}: byte {} of operand {} is {:#x}, on the host {:#x}\n", describe(one),
             at % kRoom, at / kRoom, static_cast<int>(*differs.in1),
             static_cast<int>(*differs.in2));
  return false;
}

bool reductions_agree(Device& device) {
  int cases = 0;
  int wrong = 0;
  const Operands operands(1);
  for (int type = 0; type < kDataTypes; ++type) {
    for (const ReduceOp op :
         {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMax, ReduceOp::kMin, ReduceOp::kAvg}) {
      for (const size_t sources : {size_t{2}, size_t{3}, kOperands}) {
        const auto kind = static_cast<DataType>(type);
        for (const size_t count : {size_t{1}, size_t{77}, kMost / element_bytes(kind)}) {
          for (const size_t shift : {size_t{0}, size_t{1}}) {
            const Case one{.type = kind,
                           .op = op,
                           .sources = sources,
                           .count = count,
                           .shift = shift,
                           .divide_by = op == ReduceOp::kAvg ? 3U : 1U};
            ++cases;
            wrong += !agrees(device, operands, one);
          }
        }
      }
    }
  }
  fmt::print("reductions: {} of {} cases as on the host\n", cases - wrong, cases);
  return wrong == 0;
}

bool scales_agree(Device& device) {
  int wrong = 0;
  const Operands operands(2);
  for (int type = 0; type < kDataTypes; ++type) {
    const auto kind = static_cast<DataType>(type);
    std::vector<std::byte> expected = operands.host;
    const auto scale = [&](std::byte* base) {
      return ScaleWork{.dst = base + kOperands * kRoom,
                       .src = base,
                       .count = kMost / element_bytes(kind),
                       .type = kind,
                       .scalar = operands.host.data() + kRoom};
    };
    host_compute().submit(scale(expected.data()));
    operands.send();
    if (!run(device, [&](DeviceQueue& queue) { return queue.submit(scale(operands.device)); })) {
      return false;
    }
    std::vector<std::byte> got(operands.host.size());
    Program::copy(got.data(), operands.device, got.size());
    if (got != expected) fmt::print("FAILED: scaling {}\n", data_type_name(kind)), ++wrong;
  }
  fmt::print("scaling: {} of {} types as on the host\n", kDataTypes - wrong, kDataTypes);
  return wrong == 0;
}

// Blocks with strides, at addresses that are whole in words of 1 to 16 bytes.
bool copies_agree(Device& device) {
  int cases = 0;
  int wrong = 0;
  const Operands operands(3);
  for (const uint64_t from : {0, 1, 2, 4, 8, 16}) {
    for (const uint64_t bytes : {1, 100, 65536, 70001}) {
      std::vector<std::byte> expected = operands.host;
      const uint64_t stride = 71'680;
      const uint64_t to = 4 * kRoom;
      for (uint64_t block = 0; block < 4; ++block) {
        std::copy_n(operands.host.begin() + static_cast<ptrdiff_t>(from + block * stride), bytes,
                    expected.begin() + static_cast<ptrdiff_t>(to + block * bytes));
      }
      operands.send();
      const BlockCopy copy{.dst = operands.device + to,
                           .src = operands.device + from,
                           .bytes = bytes,
                           .blocks = 4,
                           .dst_stride = bytes,
                           .src_stride = stride};
      if (!run(device, [&](DeviceQueue& queue) { return queue.submit(copy); })) return false;
      std::vector<std::byte> got(operands.host.size());
      Program::copy(got.data(), operands.device, got.size());
      ++cases;
      if (got != expected) fmt::print("FAILED: {} bytes from {}\n", bytes, from), ++wrong;
    }
  }
  fmt::print("copies: {} of {} cases right\n", cases - wrong, cases);
  return wrong == 0;
}

// --- speed ---

double median_seconds(const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    const auto begin = Clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

void print_speed(const char* what, double bytes, double seconds, double beside) {
  fmt::print("{:44} {:8.1f} GB/s, {:.2f} of the driver's {:.1f}\n", what, bytes / seconds / 1e9,
             beside / seconds, bytes / beside / 1e9);
}

void measure_latency(Device& device, std::byte* to, std::byte* from) {
  constexpr int kRounds = 100;
  const BlockCopy small{.dst = to, .src = from, .bytes = 16};
  const auto each_us = [&](const std::function<Compute::Ticket(DeviceQueue&)>& submit) {
    const double seconds = median_seconds([&] {
      for (int i = 0; i < kRounds; ++i) run(device, submit);
    });
    return seconds / kRounds * 1e6;
  };
  const double empty = each_us([](DeviceQueue&) { return Compute::Ticket{0}; });
  const double one = each_us([&](DeviceQueue& queue) { return queue.submit(small); });
  const double eleven = each_us([&](DeviceQueue& queue) {
    for (int i = 0; i < 10; ++i) {
      const Compute::Ticket ticket = queue.submit(small);
      while (!queue.done(ticket)) {
      }
    }
    return queue.submit(small);
  });
  fmt::print(
      "a launch and its end {:.1f} us, with a copy of 16 bytes {:.1f}; each more copy, there and "
      "back, {:.1f}\n",
      empty, one, (eleven - one) / 10);
}

void measure(Device& device) {
  constexpr size_t kBytes = size_t{256} << 20;
  std::byte* const a = on_device(kBytes);
  std::byte* const b = on_device(kBytes);
  std::byte* const c = on_device(kBytes);
  auto* const host = static_cast<std::byte*>(std::aligned_alloc(4096, kBytes));
  std::memset(host, 1, kBytes);
  const auto pinned = device.pin(host, kBytes);
  if (!pinned) return void(fmt::print("{}\n", pinned.error().message()));
  const auto by_driver = [](std::byte* to, std::byte* from) {
    return median_seconds([=] {
      Program::copy(to, from, kBytes);
      Program::synchronize();
    });
  };
  const auto by_kernel = [&device](std::byte* to, std::byte* from) {
    return median_seconds([&, to, from] {
      run(device, [&](DeviceQueue& queue) {
        return queue.submit(BlockCopy{.dst = to, .src = from, .bytes = kBytes});
      });
    });
  };
  const double copied = by_driver(b, a);
  print_speed("copy within the GPU", kBytes, by_kernel(b, a), copied);
  print_speed("copy to pinned memory", kBytes, by_kernel(*pinned, a), by_driver(host, a));
  print_speed("copy from pinned memory", kBytes, by_kernel(a, *pinned), by_driver(a, host));
  const double reduced = median_seconds([&] {
    const std::byte* srcs[] = {a, b};
    std::byte* dsts[] = {c};
    run(device, [&](DeviceQueue& queue) {
      return queue.submit(ReduceWork{.dsts = dsts, .srcs = srcs, .count = kBytes / 4});
    });
  });
  print_speed("sum of two float32 arrays, bytes of one", kBytes, reduced, copied);
  measure_latency(device, b, a);
}

int run_all(int blocks) {
  const char* reason = nullptr;
  if (!Program::start(reason)) {
    fmt::print("SKIP: {}\n", reason);
    return 77;
  }
  const auto device = cuda::CudaDevice::open(nullptr, {.blocks = blocks});
  if (!device) {
    fmt::print("{}\n", device.error().message());
    return 1;
  }
  const bool right = copies_agree(**device) && reductions_agree(**device) && scales_agree(**device);
  if (!right) return 1;
  measure(**device);
  fmt::print("passed\n");
  return 0;
}

}  // namespace
}  // namespace railccl

// [BLOCKS]: of threads, that serve a call.
int main(int argc, char** argv) {
  return railccl::run_all(argc > 1 ? std::atoi(argv[1]) : railccl::DeviceOptions().blocks);
}
