// What the library asks the CUDA driver of the process. The program loads and initialises the
// driver; the library only looks whether it is there.
#pragma once

namespace railccl::cuda {

// Looks for the driver, if it has not been found yet. Any thread; a microsecond. To be called
// before memory of a GPU can come: when a communicator is made.
void find_driver();

// Memory of a GPU that the host cannot read; false for what cudaMallocHost and cudaMallocManaged
// give, and where there is no driver. Any thread.
bool is_device_memory(const void* address);

}  // namespace railccl::cuda
