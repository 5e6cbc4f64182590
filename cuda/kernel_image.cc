#include "cuda/kernel_image.h"

#ifdef RAILCCL_KERNEL_IMAGE  // the file's path, from the build

extern "C" __attribute__((visibility("hidden"))) const unsigned char railccl_kernel_image[];

asm(".pushsection .rodata\n"
    ".balign 64\n"
    ".hidden railccl_kernel_image\n"
    ".global railccl_kernel_image\n"
    "railccl_kernel_image:\n"
    ".incbin \"" RAILCCL_KERNEL_IMAGE
    "\"\n"
    ".popsection\n");

const void* railccl::cuda::kernel_image() { return railccl_kernel_image; }

#else

const void* railccl::cuda::kernel_image() { return nullptr; }

#endif
