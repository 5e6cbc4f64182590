// Writes every number of the nccl.h it is compiled against: enum values, constants, struct sizes
// and offsets, initializers, function types. Compiled once against our header and, where there is
// one, once against the CUDA toolkit's; nccl_header_test.cc compares.
#include <cstddef>
#include <cstring>
#include <sstream>
#include <string>
#include <typeinfo>

#ifdef RAILCCL_DUMP_TOOLKIT_HEADER
#include <nccl.h>
#define RAILCCL_DUMP_NAME dump_toolkit_header
#else
#include <railccl/nccl.h>
#define RAILCCL_DUMP_NAME dump_our_header
#endif

std::string RAILCCL_DUMP_NAME();

namespace {

#define VALUE(constant) out << #constant " " << static_cast<long long>(constant) << '\n'
#define LAYOUT(type) out << "sizeof " #type " " << sizeof(type) << " " << alignof(type) << '\n'
#define OFFSET(type, field)                                                                    \
  out << "offset " #type "." #field " " << offsetof(type, field) << " " << sizeof(type::field) \
      << " " << typeid(decltype(type::field)).name() << '\n'
#define FUNCTION(suffix)                                             \
  out << "function nccl" #suffix " " << typeid(&nccl##suffix).name() \
      << (typeid(&nccl##suffix) == typeid(&pnccl##suffix) ? " +pnccl" : "") << '\n'

void dump_values(std::ostream& out) {
  VALUE(NCCL_MAJOR), VALUE(NCCL_MINOR), VALUE(NCCL_PATCH), VALUE(NCCL_VERSION_CODE);
  VALUE(NCCL_VERSION(2, 8, 4)), VALUE(NCCL_VERSION(2, 9, 1)), VALUE(NCCL_VERSION(3, 1, 0));
  VALUE(NCCL_UNIQUE_ID_BYTES), VALUE(NCCL_CONFIG_UNDEF_INT), VALUE(NCCL_SPLIT_NOCOLOR);
  VALUE(NCCL_UNDEF_FLOAT * 8), VALUE(NCCL_WIN_DEFAULT), VALUE(NCCL_WIN_COLL_SYMMETRIC);
  VALUE(NCCL_WIN_REQUIRED_ALIGNMENT), VALUE(NCCL_CTA_POLICY_DEFAULT);
  VALUE(NCCL_CTA_POLICY_EFFICIENCY), VALUE(NCCL_CTA_POLICY_ZERO), VALUE(NCCL_SHRINK_DEFAULT);
  VALUE(NCCL_SHRINK_ABORT), VALUE(NCCL_REVOKE_DEFAULT);
  out << "NCCL_SUFFIX \"" << NCCL_SUFFIX << "\"\n";
  VALUE(ncclSuccess), VALUE(ncclUnhandledCudaError), VALUE(ncclSystemError);
  VALUE(ncclInternalError), VALUE(ncclInvalidArgument), VALUE(ncclInvalidUsage);
  VALUE(ncclRemoteError), VALUE(ncclInProgress), VALUE(ncclNumResults);
  VALUE(ncclNumOps_dummy), VALUE(ncclSum), VALUE(ncclProd), VALUE(ncclMax), VALUE(ncclMin);
  VALUE(ncclAvg), VALUE(ncclNumOps), VALUE(ncclMaxRedOp);
  VALUE(ncclInt8), VALUE(ncclChar), VALUE(ncclUint8), VALUE(ncclInt32), VALUE(ncclInt);
  VALUE(ncclUint32), VALUE(ncclInt64), VALUE(ncclUint64), VALUE(ncclFloat16), VALUE(ncclHalf);
  VALUE(ncclFloat32), VALUE(ncclFloat), VALUE(ncclFloat64), VALUE(ncclDouble);
  VALUE(ncclBfloat16), VALUE(ncclFloat8e4m3), VALUE(ncclFloat8e5m2), VALUE(ncclNumTypes);
  VALUE(ncclScalarDevice), VALUE(ncclScalarHostImmediate);
}

void dump_layouts(std::ostream& out) {
  LAYOUT(ncclUniqueId), LAYOUT(ncclComm_t), LAYOUT(ncclWindow_t), LAYOUT(ncclResult_t);
  LAYOUT(ncclRedOp_t), LAYOUT(ncclDataType_t), LAYOUT(ncclScalarResidence_t);
  LAYOUT(ncclConfig_t), LAYOUT(ncclSimInfo_t);
  OFFSET(ncclUniqueId, internal);
  OFFSET(ncclConfig_t, size), OFFSET(ncclConfig_t, magic), OFFSET(ncclConfig_t, version);
  OFFSET(ncclConfig_t, blocking), OFFSET(ncclConfig_t, cgaClusterSize);
  OFFSET(ncclConfig_t, minCTAs), OFFSET(ncclConfig_t, maxCTAs), OFFSET(ncclConfig_t, netName);
  OFFSET(ncclConfig_t, splitShare), OFFSET(ncclConfig_t, trafficClass);
  OFFSET(ncclConfig_t, commName), OFFSET(ncclConfig_t, collnetEnable);
  OFFSET(ncclConfig_t, CTAPolicy), OFFSET(ncclConfig_t, shrinkShare);
  OFFSET(ncclConfig_t, nvlsCTAs), OFFSET(ncclConfig_t, nChannelsPerNetPeer);
  OFFSET(ncclConfig_t, nvlinkCentricSched);
  OFFSET(ncclSimInfo_t, size), OFFSET(ncclSimInfo_t, magic), OFFSET(ncclSimInfo_t, version);
  OFFSET(ncclSimInfo_t, estimatedTime);
}

template <typename Struct>
void dump_bytes(std::ostream& out, const char* name, const Struct& value) {
  int32_t words[sizeof(Struct) / 4];
  std::memcpy(words, &value, sizeof words);
  out << name;
  for (int32_t word : words) out << ' ' << word;
  out << '\n';
}

void dump_initializers(std::ostream& out) {
  const ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  dump_bytes(out, "NCCL_CONFIG_INITIALIZER", config);
  // The last four bytes are padding.
  const ncclSimInfo_t info = NCCL_SIM_INFO_INITIALIZER;
  out << "NCCL_SIM_INFO_INITIALIZER " << info.size << ' ' << info.magic << ' ' << info.version
      << ' ' << info.estimatedTime << '\n';
}

void dump_functions(std::ostream& out) {
  FUNCTION(MemAlloc), FUNCTION(MemFree), FUNCTION(GetVersion), FUNCTION(GetUniqueId);
  FUNCTION(GetErrorString), FUNCTION(GetLastError), FUNCTION(CommInitRank);
  FUNCTION(CommInitRankConfig), FUNCTION(CommInitRankScalable), FUNCTION(CommInitAll);
  FUNCTION(CommFinalize), FUNCTION(CommDestroy), FUNCTION(CommAbort), FUNCTION(CommRevoke);
  FUNCTION(CommSplit), FUNCTION(CommShrink), FUNCTION(CommGetAsyncError), FUNCTION(CommCount);
  FUNCTION(CommCuDevice), FUNCTION(CommUserRank), FUNCTION(CommRegister);
  FUNCTION(CommDeregister), FUNCTION(CommWindowRegister), FUNCTION(CommWindowDeregister);
  FUNCTION(RedOpCreatePreMulSum), FUNCTION(RedOpDestroy), FUNCTION(AllReduce), FUNCTION(Reduce);
  FUNCTION(ReduceScatter), FUNCTION(AllGather), FUNCTION(Broadcast), FUNCTION(Bcast);
  FUNCTION(AlltoAll), FUNCTION(Gather), FUNCTION(Scatter), FUNCTION(Send), FUNCTION(Recv);
  FUNCTION(GroupStart), FUNCTION(GroupEnd), FUNCTION(GroupSimulateEnd);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  FUNCTION(ResetDebugInit);
#pragma GCC diagnostic pop
}

}  // namespace

std::string RAILCCL_DUMP_NAME() {
  std::ostringstream out;
  dump_values(out);
  dump_layouts(out);
  dump_initializers(out);
  dump_functions(out);
  return out.str();
}
