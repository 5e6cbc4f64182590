// The one table of every setting. Parsing, railccl_info --env and docs/environment.md come from it.
// Pure data; read values through Settings (settings.h).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "src/base/setting_spec.h"

namespace railccl {
namespace settings_table_internal {

using enum SettingGroup;
using enum NcclName;
using Key = Setting;
using Text = std::string_view;

constexpr int64_t kKiB = int64_t{1} << 10;
constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kMaxSeconds = 86400;

constexpr SettingSpec flag(Key key, Text name, NcclName nccl, Text fallback, SettingGroup group,
                           Text help) {
  return {key, name, nccl, SettingType::kBool, fallback, 0, 1, {}, group, help};
}
constexpr SettingSpec number(Key key, Text name, NcclName nccl, Text fallback, int64_t min,
                             int64_t max, SettingGroup group, Text help) {
  return {key, name, nccl, SettingType::kInt, fallback, min, max, {}, group, help};
}
constexpr SettingSpec bytes(Key key, Text name, NcclName nccl, Text fallback, int64_t min,
                            int64_t max, SettingGroup group, Text help) {
  return {key, name, nccl, SettingType::kBytes, fallback, min, max, {}, group, help};
}
constexpr SettingSpec choice(Key key, Text name, NcclName nccl, Text fallback, Text choices,
                             SettingGroup group, Text help) {
  return {key, name, nccl, SettingType::kChoice, fallback, 0, 0, choices, group, help};
}
constexpr SettingSpec text(Key key, Text name, NcclName nccl, Text fallback, SettingGroup group,
                           Text help) {
  return {key, name, nccl, SettingType::kText, fallback, 0, 0, {}, group, help};
}

// In the order of the keys.
constexpr std::array<SettingSpec, kSettings> kTable = {{
    choice(Key::kDevice, "DEVICE", kNone, "auto", "auto|host|cuda", kGeneral,
           "where buffers live; auto: CUDA if this process has a device, else host memory"),
    text(Key::kConfFile, "CONF_FILE", kNone, "", kGeneral,
         "a file of further settings, NAME=value per line; read from the environment only"),
    text(Key::kHostId, "HOSTID", kShared, "", kGeneral,
         "ranks with the same text are one node; empty: found from the machine"),
    number(Key::kRanksPerNode, "RANKS_PER_NODE", kNone, "0", 0, 1 << 20, kGeneral,
           "treat this many consecutive ranks of a machine as one node; 0: all of a machine"),
    flag(Key::kCommBlocking, "COMM_BLOCKING", kShared, "1", kGeneral,
         "whether communicator calls return only when they are through; overrides the config"),

    text(Key::kCommId, "COMM_ID", kShared, "", kBootstrap,
         "address:port where rank 0 listens, instead of one carried by the unique id"),
    text(Key::kJobSecret, "JOB_SECRET", kNone, "", kBootstrap,
         "a secret of the job, from which ranks started without a unique id derive its key"),
    number(Key::kRankTimeoutS, "RANK_TIMEOUT_S", kNone, "60", 1, kMaxSeconds, kBootstrap,
           "a rank that has not come after so long is named in an error on all others"),
    number(Key::kSilenceTimeoutS, "SILENCE_TIMEOUT_S", kNone, "10", 1, kMaxSeconds, kBootstrap,
           "a host that says nothing for so long counts as lost"),

    choice(Key::kTransport, "TRANSPORT", kNone, "auto", "auto|verbs|ucx|tcp", kRails,
           "how rails carry data; auto: verbs where there are RDMA ports, else TCP"),
    text(Key::kNet, "NET", kShared, "", kRails,
         "NCCL's name for the same: IB (verbs), Socket (tcp) or ucx; TRANSPORT wins"),
    text(Key::kUcxTls, "UCX_TLS", kNone, "^self,sm", kRails,
         "what UCX rails use of UCX, as its own UCX_TLS; never what works inside a host only"),
    text(Key::kRails, "RAILS", kNone, "", kRails,
         "which rails to use, in order: name,name,...; empty: all that fit, at most 32"),
    choice(Key::kCrossNic, "CROSS_NIC", kShared, "2", "0|1|2", kRails,
           "rail k talks to rail k only (0, 2); 1: rails that one side has more go to any"),
    flag(Key::kTcpFallback, "TCP_FALLBACK", kNone, "1", kRails,
         "use TCP towards a peer that no RDMA rail reaches; 0: that is an error"),
    choice(Key::kStriping, "STRIPING", kNone, "measured", "measured|equal", kRails,
           "share of each rail: what it is measured to carry, or the same for all"),
    bytes(Key::kChunkBytes, "CHUNK_BYTES", kNone, "0", 0, kGiB, kRails,
          "the part of a put that one rail carries in one operation; 0: by the rail's rate"),
    bytes(Key::kSmallPutBytes, "SMALL_PUT_BYTES", kNone, "64K", 0, kGiB, kRails,
          "puts below this are not split over rails"),
    bytes(Key::kMessageRingBytes, "MESSAGE_RING_BYTES", kNone, "256K", 128 * kKiB, 64 << 20, kRails,
          "memory per peer for small messages that have arrived and are not read yet"),
    number(Key::kRailTimeoutMs, "RAIL_TIMEOUT_MS", kNone, "2000", 10, 600000, kRails,
           "a suspected rail without a sign of life for so long is down"),
    number(Key::kLinkTimeoutS, "LINK_TIMEOUT_S", kNone, "30", 1, kMaxSeconds, kRails,
           "how long to wait for a rail to come back when none to a peer is left"),
    number(
        Key::kRailProbeMs, "RAIL_PROBE_MS", kNone, "100", 1, 600000, kRails,
        "first pause between probes of a rail that is down; it doubles while another rail carries"),
    number(Key::kRailProbeMaxMs, "RAIL_PROBE_MAX_MS", kNone, "5000", 1, 3600000, kRails,
           "longest pause between probes of a rail that is down"),
    flag(Key::kCheck, "CHECK", kNone, "0", kRails,
         "verify a checksum of every chunk at the receiver (costs bandwidth)"),

    text(Key::kSocketIfname, "SOCKET_IFNAME", kShared, "", kSockets,
         "interfaces for bootstrap and TCP: [^][=]prefix,...; ^ excludes, = is exact"),
    choice(Key::kSocketFamily, "SOCKET_FAMILY", kShared, "any", "any|AF_INET|AF_INET6", kSockets,
           "address family for bootstrap and TCP"),
    bytes(Key::kSocketRcvbuf, "SOCKET_RCVBUF", kShared, "0", 0, kGiB, kSockets,
          "receive buffer of TCP rails; 0: the kernel's automatic size"),
    bytes(Key::kSocketSndbuf, "SOCKET_SNDBUF", kShared, "0", 0, kGiB, kSockets,
          "send buffer of TCP rails; 0: the kernel's automatic size"),
    text(Key::kSocketCongestion, "SOCKET_CONGESTION", kNone, "auto", kSockets,
         "congestion control of TCP rails: a name, system, or auto: the system's, but for bbr"),

    text(Key::kIbHca, "IB_HCA", kShared, "", kVerbs,
         "RDMA ports to use: [^][=]device[:port],...; ^ excludes, = is exact"),
    flag(Key::kIbDisable, "IB_DISABLE", kShared, "0", kVerbs, "do not use RDMA devices"),
    number(Key::kIbGidIndex, "IB_GID_INDEX", kShared, "-1", -1, 255, kVerbs,
           "GID of RoCE ports by index; -1: chosen by family and RoCE version"),
    choice(Key::kIbAddrFamily, "IB_ADDR_FAMILY", kShared, "AF_INET", "AF_INET|AF_INET6", kVerbs,
           "address family for the choice of the GID"),
    text(Key::kIbAddrRange, "IB_ADDR_RANGE", kShared, "", kVerbs,
         "network (CIDR) that the chosen GID must lie in"),
    number(Key::kIbRoceVersionNum, "IB_ROCE_VERSION_NUM", kShared, "2", 1, 2, kVerbs,
           "RoCE version for the choice of the GID"),
    number(Key::kIbTimeout, "IB_TIMEOUT", kShared, "14", 1, 31, kVerbs,
           "acknowledgement timeout, 4.096 us * 2^n; shorter than NCCL's 20: the link replays"),
    number(Key::kIbRetryCnt, "IB_RETRY_CNT", kShared, "7", 0, 7, kVerbs,
           "retransmissions before a queue pair gives up"),
    number(Key::kIbQpsPerConnection, "IB_QPS_PER_CONNECTION", kShared, "1", 1, 32, kVerbs,
           "queue pairs per endpoint, for fabrics that hash flows over paths"),
    number(Key::kIbTc, "IB_TC", kShared, "0", 0, 255, kVerbs, "traffic class"),
    number(Key::kIbSl, "IB_SL", kShared, "0", 0, 15, kVerbs, "service level"),
    number(Key::kIbPkey, "IB_PKEY", kShared, "0", 0, 65535, kVerbs, "partition key index"),
    choice(Key::kIbPciRelaxedOrdering, "IB_PCI_RELAXED_ORDERING", kShared, "2", "0|1|2", kVerbs,
           "relaxed ordering of PCIe writes: off, on, where the device offers it"),

    flag(Key::kShmDisable, "SHM_DISABLE", kShared, "0", kNode,
         "do not use shared memory between ranks of a node; they talk over rails"),
    flag(Key::kP2pDisable, "P2P_DISABLE", kShared, "0", kNode,
         "do not access another GPU's memory directly"),
    flag(Key::kCmaDisable, "CMA_DISABLE", kNone, "0", kNode,
         "do not use cross-memory attach; data goes through shared slots"),

    choice(Key::kNetGdrLevel, "NET_GDR_LEVEL", kShared, "auto",
           "auto|LOC=0|PIX=1|PXB=2|PHB=3=4|SYS=5", kGpu,
           "how far a NIC may be from a GPU and still reach its memory directly; LOC: never"),
    flag(Key::kDmabufEnable, "DMABUF_ENABLE", kShared, "1", kGpu,
         "register GPU memory through dma-buf where possible"),
    number(Key::kNthreads, "NTHREADS", kShared, "512", 64, 1024, kGpu,
           "CUDA threads per block of our kernels; a multiple of 32"),
    bytes(Key::kStagingBytes, "STAGING_BYTES", kNone, "4M", 64 * kKiB, kGiB, kGpu,
          "pinned memory of each of a communicator's four slots, through which GPU memory goes; "
          "the same on all ranks"),
    number(Key::kMinCtas, "MIN_CTAS", kShared, "0", 0, 64, kGpu,
           "the same as MIN_NCHANNELS under NCCL's newer name; the larger counts"),
    number(Key::kMaxCtas, "MAX_CTAS", kShared, "0", 0, 64, kGpu,
           "the same as MAX_NCHANNELS under NCCL's newer name; the smaller counts"),

    text(Key::kAlgo, "ALGO", kShared, "", kTuning,
         "algorithms to choose from: [^]name,... or collective:[^]name,...;...; empty: all"),
    text(Key::kScheduleFile, "SCHEDULE_FILE", kNone, "", kTuning,
         "a schedule of your own (JSON, docs/algorithms.md); verified before it runs"),
    number(Key::kMinNchannels, "MIN_NCHANNELS", kShared, "0", 0, 64, kTuning,
           "least channels per operation, as far as its data can be cut; 0: chosen"),
    number(Key::kMaxNchannels, "MAX_NCHANNELS", kShared, "0", 0, 64, kTuning,
           "most channels per operation; 0: 2, or MIN_NCHANNELS if that is more"),
    bytes(Key::kBuffsize, "BUFFSIZE", kShared, "16M", 4 * kKiB, kGiB, kTuning,
          "scratch memory of each channel, shared by its pieces under way"),
    bytes(Key::kEagerBytes, "EAGER_BYTES", kNone, "32K", 0, 1 << 20, kTuning,
          "messages up to this travel with their announcement, without a ready exchange"),
    bytes(Key::kPieceBytes, "PIECE_BYTES", kNone, "0", 0, kGiB, kTuning,
          "data is cut into pieces of this size for pipelining; 0: chosen from the cost model"),
    bytes(Key::kScratchBytes, "SCRATCH_BYTES", kNone, "0", 0, 64 * kGiB, kTuning,
          "scratch memory per communicator and rank; 0: most channels times BUFFSIZE"),
    number(Key::kPipelineDepth, "PIPELINE_DEPTH", kNone, "0", 0, 64, kTuning,
           "pieces of a channel under way at a time; 0: 4"),
    choice(Key::kRetune, "RETUNE", kNone, "exact", "exact|all|off", kTuning,
           "what follows when rails change: exact: new choices that leave every result bit for bit "
           "the same; all: also where floating-point sums round differently; off: nothing"),

    choice(Key::kPoll, "POLL", kNone, "adaptive", "spin|adaptive|sleep", kProgress,
           "how to wait: burn a core, spin briefly and then sleep, sleep at once"),
    number(Key::kPollSpinUs, "POLL_SPIN_US", kNone, "50", 0, 1000000, kProgress,
           "how long adaptive waiting spins before it sleeps; unless set not at all on a machine "
           "with one processor"),

    text(Key::kTopoFile, "TOPO_FILE", kShared, "", kTopology,
         "read the machine's topology from this XML file instead of finding it"),
    text(Key::kTopoDumpFile, "TOPO_DUMP_FILE", kShared, "", kTopology,
         "write the topology that was found to this XML file"),

    choice(Key::kDebug, "DEBUG", kShared, "warn", "none|version|warn=attn|info=abort|trace",
           kDiagnostics, "log level; each includes those before it"),
    text(Key::kDebugSubsys, "DEBUG_SUBSYS", kShared, "INIT,BOOTSTRAP,ENV", kDiagnostics,
         "what is logged at info and trace: names or ALL; ^ before the list: all but these"),
    text(Key::kDebugFile, "DEBUG_FILE", kShared, "", kDiagnostics,
         "log to this file (%h host, %p process); empty: warnings to stderr, others to stdout"),
    text(Key::kTrace, "TRACE", kNone, "ring", kDiagnostics,
         "off; ring: in memory, for requests; else a file (%h, %p, %r) for exit, errors and the "
         "signal"),
    number(Key::kTraceRecords, "TRACE_RECORDS", kNone, "16384", 64, 1 << 24, kDiagnostics,
           "records kept per thread, 32 bytes each; rounded up to a power of two"),
    choice(Key::kTraceSignal, "TRACE_SIGNAL", kNone, "none", "none|USR1|USR2", kDiagnostics,
           "a signal that makes the process write its trace, to the file of TRACE or a new one"),
    text(Key::kMetricsFile, "METRICS_FILE", kNone, "", kDiagnostics,
         "keep a Prometheus text file here (%h, %p)"),
    number(Key::kMetricsIntervalS, "METRICS_INTERVAL_S", kNone, "10", 1, kMaxSeconds, kDiagnostics,
           "how often the metrics file is written"),
    number(Key::kStallReportS, "STALL_REPORT_S", kNone, "30", 0, kMaxSeconds, kDiagnostics,
           "an operation without progress for so long is reported, with who waits; 0: never"),
    text(Key::kExplainFile, "EXPLAIN_FILE", kNone, "", kDiagnostics,
         "write each communicator's choices and their reasons here (%h, %p; .json for JSON)"),
    flag(Key::kPredict, "PREDICT", kNone, "0", kDiagnostics,
         "record the predicted time of each operation beside the measured one"),
}};

constexpr bool in_order() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<size_t>(kTable[i].key) != i) return false;
  }
  return true;
}
static_assert(in_order(), "a row of the settings table is not at the place of its key");

}  // namespace settings_table_internal

constexpr const std::array<SettingSpec, kSettings>& settings_table() {
  return settings_table_internal::kTable;
}
constexpr const SettingSpec& setting_spec(Setting key) {
  return settings_table_internal::kTable[static_cast<size_t>(key)];
}

}  // namespace railccl
