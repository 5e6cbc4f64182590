// What the stand-in for libcuda takes for memory of a GPU.
#pragma once

#include <cstddef>

extern "C" {
void fake_driver_set_device_memory(const void* begin, size_t bytes);
void fake_driver_set_managed_memory(const void* begin, size_t bytes);
}
