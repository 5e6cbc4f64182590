// The sentence behind a result code (ncclGetLastError), and the mapping of Status to ncclResult_t.
// Any thread.
#pragma once

#include "include/railccl/nccl.h"
#include "src/base/status.h"

namespace railccl {

ncclResult_t result_of(Code code);
// Remembers the message for this thread and for the process; the code as NCCL's.
ncclResult_t report(const Status& status);
// This thread's last message, else the last one of the process, else "". Valid until this thread's
// next call here.
const char* last_error();

}  // namespace railccl
