#include "perftest/common/gpu.h"

#include <array>
#include <bit>
#include <cstdio>

namespace railccl::perftest {
namespace {

// For destructors, which cannot pass an error on.
void report(const CudaDriver& driver, std::string_view call, int answer) {
  if (const auto fine = check(driver, call, answer); !fine) {
    fmt::print(stderr, "{}\n", fine.error().message);
  }
}

Outcome<std::string> bus_of(const CudaDriver& driver, int device) {
  int domain = 0;
  int bus = 0;
  int slot = 0;
  for (const auto& [attribute, value] :
       {std::pair{kPciDomain, &domain}, {kPciBus, &bus}, {kPciDevice, &slot}}) {
    PERFTEST_TRY(check(driver, "cuDeviceGetAttribute",
                       driver.device_get_attribute(value, attribute, device)));
  }
  return fmt::format("{:04x}:{:02x}:{:02x}", domain, bus, slot);
}

}  // namespace

Outcome<Gpus> Gpus::open(const CudaDriver& driver) {
  int count = 0;
  auto ready = check(driver, "cuInit", driver.init(0));
  if (ready) ready = check(driver, "cuDeviceGetCount", driver.device_get_count(&count));
  if (ready && count > 0) return Gpus(driver, count);
  return failure(Exit::kUsage, "this process sees no GPU ({}; CUDA_VISIBLE_DEVICES may hide some)",
                 ready ? "the CUDA driver counts none" : ready.error().message);
}

Outcome<GpuInfo> Gpus::choose(int ordinal) const {
  int device = 0;
  PERFTEST_TRY(check(*driver_, "cuDeviceGet", driver_->device_get(&device, ordinal)));
  void* context = nullptr;
  PERFTEST_TRY(check(*driver_, "cuDevicePrimaryCtxRetain",
                     driver_->primary_context_retain(&context, device)));
  PERFTEST_TRY(check(*driver_, "cuCtxSetCurrent", driver_->context_set_current(context)));
  std::array<char, 256> name{};
  PERFTEST_TRY(
      check(*driver_, "cuDeviceGetName",
            driver_->device_get_name(name.data(), static_cast<int>(name.size()) - 1, device)));
  auto bus = bus_of(*driver_, device);
  if (!bus) return tl::unexpected(bus.error());
  return GpuInfo{.ordinal = ordinal, .bus = std::move(*bus), .name = name.data()};
}

GpuGraph::~GpuGraph() {
  if (executable_ != nullptr) {
    report(*driver_, "cuGraphExecDestroy", driver_->graph_executable_destroy(executable_));
  }
  if (graph_ != nullptr) report(*driver_, "cuGraphDestroy", driver_->graph_destroy(graph_));
}

Outcome<GpuStream> GpuStream::create(const CudaDriver& driver, bool own) {
  GpuStream stream(driver);
  if (own) {
    PERFTEST_TRY(
        check(driver, "cuStreamCreate", driver.stream_create(&stream.stream_, kNonBlocking)));
  }
  return stream;
}

GpuStream::~GpuStream() {
  if (stream_ != nullptr) report(*driver_, "cuStreamDestroy", driver_->stream_destroy(stream_));
}

Outcome<bool> GpuStream::is_done() const {
  const int answer = driver_->stream_query(stream_);
  if (answer == kNotReady) return false;
  PERFTEST_TRY(check(*driver_, "cuStreamQuery", answer));
  return true;
}

Outcome<void> GpuStream::after(std::string_view call, int answer) const {
  PERFTEST_TRY(check(*driver_, call, answer));
  return check(*driver_, "cuStreamSynchronize", driver_->stream_synchronize(stream_));
}

Outcome<void> GpuStream::clear(std::byte* device, size_t bytes) const {
  if (bytes == 0) return {};
  return after("cuMemsetD8Async",
               driver_->memory_set(std::bit_cast<DeviceAddress>(device), 0, bytes, stream_));
}

Outcome<void> GpuStream::copy_to_device(std::byte* device, const std::byte* host,
                                        size_t bytes) const {
  if (bytes == 0) return {};
  return after("cuMemcpyHtoDAsync",
               driver_->copy_to_device(std::bit_cast<DeviceAddress>(device), host, bytes, stream_));
}

Outcome<void> GpuStream::copy_to_host(std::byte* host, const std::byte* device,
                                      size_t bytes) const {
  if (bytes == 0) return {};
  return after("cuMemcpyDtoHAsync",
               driver_->copy_to_host(host, std::bit_cast<DeviceAddress>(device), bytes, stream_));
}

Outcome<GpuGraph> GpuStream::capture(const std::function<Outcome<void>()>& issue) const {
  GpuGraph graph(*driver_);
  PERFTEST_TRY(check(*driver_, "cuStreamBeginCapture",
                     driver_->stream_begin_capture(stream_, kThreadLocal)));
  const auto issued = issue();
  const int ended = driver_->stream_end_capture(stream_, &graph.graph_);
  if (!issued) return tl::unexpected(issued.error());
  PERFTEST_TRY(check(*driver_, "cuStreamEndCapture", ended));
  PERFTEST_TRY(check(*driver_, "cuGraphInstantiate",
                     driver_->graph_instantiate(&graph.executable_, graph.graph_, 0)));
  return graph;
}

Outcome<void> GpuStream::launch(const GpuGraph& graph) const {
  return check(*driver_, "cuGraphLaunch", driver_->graph_launch(graph.executable_, stream_));
}

}  // namespace railccl::perftest
