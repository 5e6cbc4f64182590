// Memory and streams of the stand-in's GPU, for tests of the C API.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

#include "include/railccl/railccl.h"
#include "tests/cuda/fake_driver.h"

extern "C" {
int cuMemAlloc_v2(unsigned long long* pointer, size_t bytes);
int cuMemFree_v2(unsigned long long pointer);
}

namespace railccl::test {

// `count` elements of memory of the GPU; the host touches them through view().
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) {
    cuMemAlloc_v2(&pointer_, count * sizeof(T));
    view_ = {static_cast<T*>(fake_driver_host_view(data())), count};
  }
  ~DeviceArray() { cuMemFree_v2(pointer_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() const { return reinterpret_cast<T*>(pointer_); }
  std::span<T> view() const { return view_; }

 private:
  unsigned long long pointer_ = 0;
  std::span<T> view_;
};

class FakeStreamHandle {
 public:
  FakeStreamHandle() : handle_(fake_driver_create_stream()) {}
  ~FakeStreamHandle() { fake_driver_destroy_stream(handle_); }
  FakeStreamHandle(const FakeStreamHandle&) = delete;
  FakeStreamHandle& operator=(const FakeStreamHandle&) = delete;
  cudaStream_t get() const { return static_cast<cudaStream_t>(handle_); }
  void synchronize() const { fake_driver_synchronize(handle_); }
  void hold(bool held) const { fake_driver_hold(handle_, held ? 1 : 0); }
  void begin_capture() const { fake_driver_begin_capture(handle_); }
  void* end_capture() const { return fake_driver_end_capture(handle_); }
  void replay(void* graph) const { fake_driver_replay(graph, handle_); }

 private:
  void* handle_;
};

}  // namespace railccl::test
