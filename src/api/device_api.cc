// Functions of nccl_device.h, which programs find by name in an NCCL library. Their structures hold
// NCCL's inner layout of device memory, so they cannot be served; each says so.
#include <cstdint>

#include "src/api/export.h"
#include "src/api/last_error.h"

namespace railccl {
namespace {

ncclResult_t refuse(std::string_view function) {
  return report(error(Code::kInvalidUsage,
                      "{} belongs to NCCL's device API, which RailCCL does not have; use the host "
                      "functions of nccl.h",
                      function));
}

// ncclTeam_t: three ints.
struct Team {
  int ranks = 0;
  int rank = 0;
  int stride = 0;
};

Team no_team(std::string_view function) {
  static_cast<void>(refuse(function));
  return {};
}

}  // namespace
}  // namespace railccl

using railccl::refuse;

RAILCCL_API(ncclResult_t, DevCommCreate, (ncclComm_t, const void*, void*)) {
  return refuse("ncclDevCommCreate");
}
RAILCCL_API(ncclResult_t, DevCommDestroy, (ncclComm_t, const void*)) {
  return refuse("ncclDevCommDestroy");
}
RAILCCL_API(ncclResult_t, GinBarrierCreateRequirement, (ncclComm_t, int64_t, int, void*, void*)) {
  return refuse("ncclGinBarrierCreateRequirement");
}
RAILCCL_API(ncclResult_t, LsaBarrierCreateRequirement, (int64_t, int, void*, void*)) {
  return refuse("ncclLsaBarrierCreateRequirement");
}
RAILCCL_API(ncclResult_t, LLA2ACreateRequirement, (int, int, void*, void*)) {
  return refuse("ncclLLA2ACreateRequirement");
}
RAILCCL_API(int, LLA2ACalcSlots, (int, int)) {
  static_cast<void>(refuse("ncclLLA2ACalcSlots"));
  return 0;
}
RAILCCL_API(railccl::Team, TeamWorld, (ncclComm_t)) { return railccl::no_team("ncclTeamWorld"); }
RAILCCL_API(railccl::Team, TeamLsa, (ncclComm_t)) { return railccl::no_team("ncclTeamLsa"); }
RAILCCL_API(railccl::Team, TeamRail, (ncclComm_t)) { return railccl::no_team("ncclTeamRail"); }
RAILCCL_API(int, TeamRankToWorld, (ncclComm_t, int64_t, int, int)) {
  static_cast<void>(refuse("ncclTeamRankToWorld"));
  return -1;
}
RAILCCL_API(int, TeamRankToLsa, (ncclComm_t, int64_t, int, int)) {
  static_cast<void>(refuse("ncclTeamRankToLsa"));
  return -1;
}
