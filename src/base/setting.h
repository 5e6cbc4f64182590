// The keys of the settings, and the words that a choice can have. The table that says what each one
// is stands in settings_table.h; values are read through Settings (settings.h). Adding a setting: a
// key here, its row at the same place in the table, then docs/environment.md printed again.
#pragma once

#include <cstddef>
#include <cstdint>

namespace railccl {

enum class Setting : uint8_t {
  // general
  kDevice,
  kConfFile,
  kHostId,
  kRanksPerNode,
  kCommBlocking,
  // bootstrap
  kCommId,
  kJobSecret,
  kRankTimeoutS,
  kSilenceTimeoutS,
  // rails
  kTransport,
  kNet,
  kUcxTls,
  kRails,
  kCrossNic,
  kTcpFallback,
  kStriping,
  kChunkBytes,
  kSmallPutBytes,
  kMessageRingBytes,
  kRailTimeoutMs,
  kLinkTimeoutS,
  kRailProbeMs,
  kRailProbeMaxMs,
  kCheck,
  // sockets
  kSocketIfname,
  kSocketFamily,
  kSocketRcvbuf,
  kSocketSndbuf,
  kSocketCongestion,
  // verbs
  kIbHca,
  kIbDisable,
  kIbGidIndex,
  kIbAddrFamily,
  kIbAddrRange,
  kIbRoceVersionNum,
  kIbTimeout,
  kIbRetryCnt,
  kIbQpsPerConnection,
  kIbTc,
  kIbSl,
  kIbPkey,
  kIbPciRelaxedOrdering,
  // inside a node
  kShmDisable,
  kP2pDisable,
  kCmaDisable,
  // GPU
  kNetGdrLevel,
  kDmabufEnable,
  kNthreads,
  kStagingBytes,
  kMinCtas,
  kMaxCtas,
  // tuning
  kAlgo,
  kScheduleFile,
  kMinNchannels,
  kMaxNchannels,
  kBuffsize,
  kEagerBytes,
  kPieceBytes,
  kScratchBytes,
  kPipelineDepth,
  kRetune,
  // progress
  kPoll,
  kPollSpinUs,
  // topology
  kTopoFile,
  kTopoDumpFile,
  // what it says about itself
  kDebug,
  kDebugSubsys,
  kDebugFile,
  kTrace,
  kTraceRecords,
  kTraceSignal,
  kMetricsFile,
  kMetricsIntervalS,
  kStallReportS,
  kExplainFile,
  kPredict,
};
constexpr size_t kSettings = static_cast<size_t>(Setting::kPredict) + 1;

// Values of the choices, in the order of the words in the table.
enum class DeviceChoice : uint8_t { kAuto, kHost, kCuda };
enum class TransportChoice : uint8_t { kAuto, kVerbs, kUcx, kTcp };
enum class StripingChoice : uint8_t { kMeasured, kEqual };
// kExact: what leaves results bit for bit the same.
enum class RetuneChoice : uint8_t { kExact, kAll, kOff };
enum class FamilyChoice : uint8_t { kAny, kInet, kInet6 };
enum class IbFamilyChoice : uint8_t { kInet, kInet6 };
enum class PollChoice : uint8_t { kSpin, kAdaptive, kSleep };
enum class SignalChoice : uint8_t { kNone, kUsr1, kUsr2 };
// How near a NIC must be to a GPU for GPUDirect: same PCIe switch, several switches, same host
// bridge (NUMA node), anywhere; kLoc: never.
enum class GdrLevelChoice : uint8_t { kAuto, kLoc, kPix, kPxb, kPhb, kSys };
// kAvoid: as kAligned, since the aligned rails that are up carry everything.
enum class CrossNicChoice : uint8_t { kAligned, kAllowed, kAvoid };
enum class RelaxedOrderingChoice : uint8_t { kOff, kOn, kAuto };

}  // namespace railccl
