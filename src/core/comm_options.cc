#include "src/core/comm_options.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include <algorithm>

#include "src/base/setting.h"
#include "src/core/algorithm_choice.h"
#include "src/core/message.h"

namespace railccl {
namespace {

constexpr int kDefaultDepth = 4;
constexpr uint64_t kMaxEagerBytes = kMaxMessageBytes - sizeof(MessageHeader);
constexpr int kDefaultChannels = 2;  // a tree each of the double binary tree
constexpr uint64_t kLeastSlotBytes = 4096;

WaitMode wait_mode(PollChoice choice) {
  switch (choice) {
    case PollChoice::kSpin:
      return WaitMode::kSpin;
    case PollChoice::kAdaptive:
      return WaitMode::kAdaptive;
    case PollChoice::kSleep:
      return WaitMode::kSleep;
  }
  return WaitMode::kAdaptive;
}

Retune retune(RetuneChoice choice) {
  switch (choice) {
    case RetuneChoice::kExact:
      return Retune::kExact;
    case RetuneChoice::kAll:
      return Retune::kAll;
    case RetuneChoice::kOff:
      return Retune::kOff;
  }
  return Retune::kExact;
}

int family(FamilyChoice choice) {
  switch (choice) {
    case FamilyChoice::kAny:
      return AF_UNSPEC;
    case FamilyChoice::kInet:
      return AF_INET;
    case FamilyChoice::kInet6:
      return AF_INET6;
  }
  return AF_UNSPEC;
}

DeviceOptions device_options(const Settings& settings) {
  constexpr int64_t kMostThreads = 512;  // of the kernel, which NCCL's setting may exceed
  DeviceOptions options;
  options.threads_per_block =
      static_cast<int>(std::min(settings.get_int(Setting::kNthreads), kMostThreads));
  const auto least = static_cast<int>(settings.get_int(Setting::kMinCtas));
  const auto most = static_cast<int>(settings.get_int(Setting::kMaxCtas));
  options.blocks = std::max(options.blocks, least);
  if (most > 0) options.blocks = std::min(options.blocks, most);
  return options;
}

// Mixes the values on which all ranks must agree, since they decide the schedules.
uint64_t configuration_of(const CommOptions& options) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
  mix(options.eager_bytes);
  mix(options.scratch_bytes);
  mix(options.piece_bytes);
  mix(options.staging_bytes);
  mix(static_cast<uint64_t>(options.depth));
  mix(static_cast<uint64_t>(options.min_channels));
  mix(static_cast<uint64_t>(options.max_channels));
  mix(options.only ? static_cast<uint64_t>(*options.only) + 1 : 0);
  mix(static_cast<uint64_t>(options.retune));
  mix(options.user_schedule ? options.user_schedule->hash() : 0);
  mix(static_cast<uint64_t>(options.peers.cross));
  mix(static_cast<uint64_t>(options.ranks_per_node));
  for (const auto& names : options.allowed) {
    mix(names.size());
    for (const std::string& name : names) {
      for (const char c : name) mix(static_cast<uint8_t>(c));
    }
  }
  return hash;
}

LinkOptions link_options(const Settings& settings) {
  LinkOptions link;
  const auto striping = settings.get_choice<StripingChoice>(Setting::kStriping);
  link.striping = striping == StripingChoice::kEqual ? Striping::kEqual : Striping::kMeasured;
  link.chunk_bytes = settings.get_bytes(Setting::kChunkBytes);
  link.small_put_bytes = settings.get_bytes(Setting::kSmallPutBytes);
  link.message_ring_bytes = static_cast<uint32_t>(settings.get_bytes(Setting::kMessageRingBytes));
  link.check = settings.get_bool(Setting::kCheck);
  link.rail_timeout_ns =
      static_cast<TimeNs>(settings.get_int(Setting::kRailTimeoutMs)) * kMillisecond;
  link.link_timeout_ns = static_cast<TimeNs>(settings.get_int(Setting::kLinkTimeoutS)) * kSecond;
  link.probe_pause_ns = static_cast<TimeNs>(settings.get_int(Setting::kRailProbeMs)) * kMillisecond;
  link.probe_pause_max_ns =
      static_cast<TimeNs>(settings.get_int(Setting::kRailProbeMaxMs)) * kMillisecond;
  return link;
}

// NCCL has two names for each bound; the narrower one counts.
Result<ChannelBounds> channels_of(const Settings& settings) {
  const auto min_channels = static_cast<int>(settings.get_int(Setting::kMinNchannels));
  const auto max_channels = static_cast<int>(settings.get_int(Setting::kMaxNchannels));
  const auto min_ctas = static_cast<int>(settings.get_int(Setting::kMinCtas));
  const auto max_ctas = static_cast<int>(settings.get_int(Setting::kMaxCtas));
  ChannelBounds bounds{.min = std::max(min_channels, min_ctas),
                       .max = std::max(max_channels, max_ctas)};
  if (max_channels > 0 && max_ctas > 0) bounds.max = std::min(max_channels, max_ctas);
  if (bounds.max > 0 && bounds.min > bounds.max) {
    const bool by_ctas = bounds.min != min_channels;
    return settings.bad_value(
        by_ctas ? Setting::kMinCtas : Setting::kMinNchannels,
        fmt::format("at most {}, which {} says", bounds.max,
                    bounds.max == max_channels ? "RAILCCL_MAX_NCHANNELS" : "RAILCCL_MAX_CTAS"));
  }
  return bounds;
}

Status read_rail_options(const Settings& settings, CommOptions& options) {
  options.peers.link = link_options(settings);
  if (options.peers.link.probe_pause_max_ns < options.peers.link.probe_pause_ns) {
    return settings.bad_value(
        Setting::kRailProbeMaxMs,
        fmt::format("at least RAILCCL_RAIL_PROBE_MS, {}", settings.get_int(Setting::kRailProbeMs)));
  }
  const auto cross = settings.get_choice<CrossNicChoice>(Setting::kCrossNic);
  options.peers.cross =
      cross == CrossNicChoice::kAllowed ? CrossRail::kAllowed : CrossRail::kAligned;
  return Status::ok();
}

Status read_tuning_options(const Settings& settings, CommOptions& options) {
  options.eager_bytes = settings.get_bytes(Setting::kEagerBytes);
  if (options.eager_bytes > kMaxEagerBytes) {
    return settings.bad_value(Setting::kEagerBytes, fmt::format("at most {}", kMaxEagerBytes));
  }
  options.scratch_bytes = settings.get_bytes(Setting::kScratchBytes);
  if (options.scratch_bytes == 0) {
    options.channel_scratch_bytes = settings.get_bytes(Setting::kBuffsize);
  }
  options.piece_bytes = settings.get_bytes(Setting::kPieceBytes);
  options.depth = static_cast<int>(settings.get_int(Setting::kPipelineDepth));
  if (options.depth == 0) options.depth = kDefaultDepth;
  options.staging_bytes = settings.get_bytes(Setting::kStagingBytes);
  options.device_peers = !settings.get_bool(Setting::kP2pDisable);
  options.device = device_options(settings);
  options.retune = retune(settings.get_choice<RetuneChoice>(Setting::kRetune));
  auto allowed = parse_algorithm_choice(settings.get_text(Setting::kAlgo));
  if (!allowed) {
    return settings.bad_value(
        Setting::kAlgo,
        fmt::format("[^]name,... or collective:[^]name,...;... ({})", allowed.error().message()));
  }
  options.allowed = std::move(*allowed);
  const std::string& schedule_file = settings.get_text(Setting::kScheduleFile);
  if (!schedule_file.empty()) {
    auto schedule = UserSchedule::read(schedule_file);
    if (!schedule) return Error(schedule.error().with_context("RAILCCL_SCHEDULE_FILE"));
    options.user_schedule = std::move(*schedule);
  }
  RAILCCL_ASSIGN(options.environment_channels, channels_of(settings));
  return Status::ok();
}

}  // namespace

Status bound_channels(CommOptions& options, const ChannelBounds& config) {
  const ChannelBounds& fixed = options.environment_channels;
  const int min = fixed.min > 0 ? fixed.min : config.min;
  const int max = fixed.max > 0 ? fixed.max : config.max;
  options.min_channels = std::max(1, min);
  options.max_channels = max > 0 ? max : std::max(kDefaultChannels, options.min_channels);
  options.min_channels = std::min(options.min_channels, options.max_channels);
  if (options.channel_scratch_bytes > 0) {
    options.scratch_bytes =
        options.channel_scratch_bytes * static_cast<uint64_t>(options.max_channels);
  }
  const uint64_t slots =
      static_cast<uint64_t>(options.max_channels) * static_cast<uint64_t>(options.depth);
  if (options.scratch_bytes / slots < kLeastSlotBytes) {
    return error(Code::kInvalidUsage,
                 "{} bytes of scratch memory ({}) are too few for {} channels with {} pieces under "
                 "way (RAILCCL_MAX_NCHANNELS, RAILCCL_PIPELINE_DEPTH): at least {} are needed",
                 options.scratch_bytes,
                 options.channel_scratch_bytes > 0 ? "RAILCCL_BUFFSIZE for each channel"
                                                   : "RAILCCL_SCRATCH_BYTES",
                 options.max_channels, options.depth, slots * kLeastSlotBytes);
  }
  options.configuration = configuration_of(options);
  return Status::ok();
}

TimeNs caller_spin_ns(const CommOptions& options, bool crowded) {
  if (crowded || options.wait_mode == WaitMode::kSleep) return 0;
  return options.wait_mode == WaitMode::kSpin ? kNever : options.spin_ns;
}

Result<CommOptions> make_comm_options(const Settings& settings) {
  CommOptions options;
  options.bootstrap.rank_timeout_ns =
      static_cast<TimeNs>(settings.get_int(Setting::kRankTimeoutS)) * kSecond;
  options.bootstrap.silence_timeout_ns =
      static_cast<TimeNs>(settings.get_int(Setting::kSilenceTimeoutS)) * kSecond;
  options.bootstrap.interface_spec = settings.get_text(Setting::kSocketIfname);
  options.bootstrap.family = family(settings.get_choice<FamilyChoice>(Setting::kSocketFamily));
  RAILCCL_TRY(read_rail_options(settings, options));
  options.host_id = settings.get_text(Setting::kHostId);
  options.ranks_per_node = static_cast<int>(settings.get_int(Setting::kRanksPerNode));
  options.share_memory = !settings.get_bool(Setting::kShmDisable);
  options.attach_memory =
      !settings.get_bool(Setting::kCmaDisable) && !settings.get_bool(Setting::kP2pDisable);
  RAILCCL_TRY(read_tuning_options(settings, options));
  options.wait_mode = wait_mode(settings.get_choice<PollChoice>(Setting::kPoll));
  options.spin_ns = settings.is_set(Setting::kPollSpinUs)
                        ? static_cast<TimeNs>(settings.get_int(Setting::kPollSpinUs)) * kMicrosecond
                        : default_spin_ns(get_nprocs());
  options.stall_report_ns = static_cast<TimeNs>(settings.get_int(Setting::kStallReportS)) * kSecond;
  options.predict = settings.get_bool(Setting::kPredict);
  RAILCCL_TRY(bound_channels(options, {}));
  return options;
}

}  // namespace railccl
