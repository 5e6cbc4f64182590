// The kernel of serve.cu for all GPUs that it was compiled for: a fat binary in this library.
#pragma once

namespace railccl::cuda {

// Null in a build that found no CUDA compiler.
const void* kernel_image();

}  // namespace railccl::cuda
