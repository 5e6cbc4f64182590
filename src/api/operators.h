// Reduction operators of the C API: the built-in ones and those of ncclRedOpCreatePreMulSum. Any
// thread.
#pragma once

#include <string_view>

#include "src/api/comm_handle.h"
#include "src/core/call.h"

namespace railccl {

// Sets call.op (and scalar); call.type is set already. Errors name the argument.
Status resolve_operator(ncclComm& comm, ncclRedOp_t op, std::string_view function, Call& call);
// An error where the operator's scalar lies in memory of a GPU.
Status check_scalar_for_host(const Call& call, std::string_view function);

}  // namespace railccl
