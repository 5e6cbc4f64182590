#include "src/api/buffer.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/api/stream.h"
#include "src/base/setting.h"
#include "src/core/runtime.h"
#include "src/core/wiring.h"

namespace railccl {
namespace {

DeviceChoice device_choice() {
  static const DeviceChoice choice = [] {
    const auto runtime = Runtime::get();
    return runtime ? (*runtime)->settings().get_choice<DeviceChoice>(Setting::kDevice)
                   : DeviceChoice::kAuto;
  }();
  return choice;
}

Status check_device(std::span<const BufferArgument> buffers, cudaStream_t stream,
                    std::string_view function) {
  for (const BufferArgument& buffer : buffers) {
    if (reinterpret_cast<uintptr_t>(buffer.address) % buffer.element != 0) {
      return error(
          Code::kInvalidArgument,
          "argument {} of {} ({}) is not aligned to its elements of {} bytes, as a GPU needs it",
          buffer.name, function, fmt::ptr(buffer.address), buffer.element);
    }
    if (place_of_now(buffer.address) != MemoryPlace::kHost) continue;
    return error(
        Code::kInvalidArgument,
        "argument {} of {} is memory of the host that no GPU can reach ({}), but the call is "
        "for a GPU: take memory from cudaMalloc or cudaMallocHost, or do not mix them in one "
        "call",
        buffer.name, function, fmt::ptr(buffer.address));
  }
  if (!HostStream::is_one(stream)) return Status::ok();
  return error(
      Code::kInvalidUsage,
      "argument stream of {} is a stream of railcclStreamCreate, but the buffers are memory "
      "of a GPU, which takes a CUDA stream",
      function);
}

}  // namespace

const void* which_gpu(std::span<const BufferArgument> buffers) {
  const auto found = std::ranges::find_if(
      buffers, [](const BufferArgument& buffer) { return is_device_memory(buffer.address); });
  if (found != buffers.end()) return found->address;
  return buffers.empty() ? nullptr : buffers.front().address;
}

bool is_device_memory(const void* address) { return place_of(address) == MemoryPlace::kDevice; }

Result<bool> is_for_device(std::span<const BufferArgument> buffers, cudaStream_t stream,
                           std::string_view function) {
  const auto is_device = [](const BufferArgument& buffer) {
    return is_device_memory(buffer.address);
  };
  const auto found = std::ranges::find_if(buffers, is_device);
  const DeviceChoice choice = device_choice();
  if (choice == DeviceChoice::kHost) {
    if (found == buffers.end()) return false;
    return error(Code::kInvalidArgument,
                 "argument {} of {} is memory of a GPU ({}), but RAILCCL_DEVICE=host", found->name,
                 function, fmt::ptr(found->address));
  }
  if (found == buffers.end() && choice != DeviceChoice::kCuda) {
    if (stream == nullptr || HostStream::is_one(stream)) return false;
    // Pinned memory goes with either; the stream decides.
    const bool reachable = std::ranges::all_of(buffers, [](const BufferArgument& buffer) {
      return place_of_now(buffer.address) == MemoryPlace::kPinned;
    });
    if (!reachable) return false;
  }
  RAILCCL_TRY(check_device(buffers, stream, function));
  return true;
}

}  // namespace railccl
