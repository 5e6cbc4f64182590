// The CUDA driver as the perftest programs see it: the functions of libcuda.so.1 that they call. It
// is looked for at run time, so that the programs start where there is none; tests may give a table
// of their own. The types are those of cuda.h, which is not on every machine that builds this
// (tests/cuda/driver_types_test.cc holds them against it where it is). Any thread.
#pragma once

#include <cstddef>
#include <string_view>

#include "perftest/common/outcome.h"

namespace railccl::perftest {

using DeviceAddress = unsigned long long;  // CUdeviceptr

struct CudaDriver {
  int (*get_error_name)(int answer, const char** name);
  int (*init)(unsigned flags);
  int (*device_get_count)(int* count);
  int (*device_get)(int* device, int ordinal);
  int (*device_get_name)(char* name, int length, int device);
  int (*device_get_attribute)(int* value, int attribute, int device);
  int (*primary_context_retain)(void** context, int device);
  int (*context_set_current)(void* context);
  int (*stream_create)(void** stream, unsigned flags);
  int (*stream_destroy)(void* stream);
  int (*stream_query)(void* stream);
  int (*stream_synchronize)(void* stream);
  int (*stream_begin_capture)(void* stream, int mode);
  int (*stream_end_capture)(void* stream, void** graph);
  int (*graph_instantiate)(void** executable, void* graph, unsigned long long flags);
  int (*graph_launch)(void* executable, void* stream);
  int (*graph_executable_destroy)(void* executable);
  int (*graph_destroy)(void* graph);
  int (*copy_to_device)(DeviceAddress to, const void* from, size_t bytes, void* stream);
  int (*copy_to_host)(void* to, DeviceAddress from, size_t bytes, void* stream);
  int (*memory_set)(DeviceAddress at, unsigned char value, size_t bytes, void* stream);
};

// CUDA_ERROR_NOT_READY
constexpr int kNotReady = 600;
// CU_DEVICE_ATTRIBUTE_PCI_...
constexpr int kPciBus = 33;
constexpr int kPciDevice = 34;
constexpr int kPciDomain = 50;
// CU_STREAM_NON_BLOCKING: no waiting for the default stream, in which other ranks may be.
constexpr unsigned kNonBlocking = 1;
// CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: the other ranks' threads go on calling what they like.
constexpr int kThreadLocal = 1;

// Kept until the process ends. Exit::kUsage: there is none, or one that lacks a function.
Outcome<const CudaDriver*> load_cuda_driver(const char* library = "libcuda.so.1");

// "cuStreamCreate: CUDA_ERROR_OUT_OF_MEMORY (2)", with Exit::kCuda; fine for 0.
Outcome<void> check(const CudaDriver& driver, std::string_view call, int answer);

}  // namespace railccl::perftest
