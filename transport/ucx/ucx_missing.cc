// In the place of this folder's other sources where there were no UCX headers to build them with.
#include "transport/ucx/ucx_transport.h"

namespace railccl {

Status ucx_available() {
  return error(Code::kInvalidUsage,
               "this build has no UCX rails: install libucx-dev and configure and build it again");
}

Result<std::unique_ptr<Rail>> open_ucx_rail(const UcxRailConfig& /*config*/,
                                            const UcxRailOptions& /*options*/) {
  return Error(ucx_available());
}

}  // namespace railccl
