#include "src/core/comm_options.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include "src/base/setting.h"
#include "src/core/algorithm_choice.h"
#include "src/core/message.h"

namespace railccl {
namespace {

constexpr int kDefaultDepth = 4;
constexpr uint64_t kMaxEagerBytes = kMaxMessageBytes - sizeof(MessageHeader);
constexpr uint64_t kDefaultScratchBytes = uint64_t{32} << 20;

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

// Mixes the values on which all ranks must agree, since they decide the schedules.
uint64_t configuration_of(const CommOptions& options) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
  mix(options.eager_bytes);
  mix(options.scratch_bytes);
  mix(options.piece_bytes);
  mix(static_cast<uint64_t>(options.depth));
  mix(static_cast<uint64_t>(options.max_channels));
  mix(static_cast<uint64_t>(options.peers.cross));
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
  return link;
}

}  // namespace

Result<CommOptions> make_comm_options(const Settings& settings) {
  CommOptions options;
  options.bootstrap.rank_timeout_ns =
      static_cast<TimeNs>(settings.get_int(Setting::kRankTimeoutS)) * kSecond;
  options.bootstrap.silence_timeout_ns =
      static_cast<TimeNs>(settings.get_int(Setting::kSilenceTimeoutS)) * kSecond;
  options.bootstrap.interface_spec = settings.get_text(Setting::kSocketIfname);
  options.bootstrap.family = family(settings.get_choice<FamilyChoice>(Setting::kSocketFamily));
  options.peers.link = link_options(settings);
  const auto cross = settings.get_choice<CrossNicChoice>(Setting::kCrossNic);
  options.peers.cross =
      cross == CrossNicChoice::kAllowed ? CrossRail::kAllowed : CrossRail::kAligned;
  options.host_id = settings.get_text(Setting::kHostId);
  options.share_memory = !settings.get_bool(Setting::kShmDisable);
  options.attach_memory =
      !settings.get_bool(Setting::kCmaDisable) && !settings.get_bool(Setting::kP2pDisable);
  options.eager_bytes = settings.get_bytes(Setting::kEagerBytes);
  if (options.eager_bytes > kMaxEagerBytes) {
    return settings.bad_value(Setting::kEagerBytes, fmt::format("at most {}", kMaxEagerBytes));
  }
  options.scratch_bytes = settings.get_bytes(Setting::kScratchBytes);
  if (options.scratch_bytes == 0) options.scratch_bytes = kDefaultScratchBytes;
  options.piece_bytes = settings.get_bytes(Setting::kPieceBytes);
  options.depth = static_cast<int>(settings.get_int(Setting::kPipelineDepth));
  if (options.depth == 0) options.depth = kDefaultDepth;
  options.wait_mode = wait_mode(settings.get_choice<PollChoice>(Setting::kPoll));
  options.spin_ns = static_cast<TimeNs>(settings.get_int(Setting::kPollSpinUs)) * kMicrosecond;
  options.stall_report_ns = static_cast<TimeNs>(settings.get_int(Setting::kStallReportS)) * kSecond;
  auto allowed = parse_algorithm_choice(settings.get_text(Setting::kAlgo));
  if (!allowed) return settings.bad_value(Setting::kAlgo, allowed.error().message());
  options.allowed = std::move(*allowed);
  options.configuration = configuration_of(options);
  return options;
}

}  // namespace railccl
