// How functions of the C API are defined: RAILCCL_API(ncclResult_t, GroupStart, (void)) { ... }
// defines the strong symbol pncclGroupStart and its weak alias ncclGroupStart, so that a profiler
// may put its own ncclGroupStart in front.
#pragma once

#include "include/railccl/nccl.h"

#define RAILCCL_EXPORTED __attribute__((visibility("default")))
#define RAILCCL_API(result, name, parameters)              \
  extern "C" RAILCCL_EXPORTED result nccl##name parameters \
      __attribute__((weak, alias("pnccl" #name)));         \
  extern "C" RAILCCL_EXPORTED result pnccl##name parameters
