#include "src/core/wiring.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <string>

#include "cuda/cuda_device.h"
#include "cuda/driver.h"
#include "cuda/kernel_image.h"
#include "cuda/memory.h"
#include "src/base/log.h"
#include "src/base/setting.h"
#include "src/base/setting_value.h"
#include "src/core/net_name.h"
#include "transport/tcp/tcp_transport.h"
#include "transport/ucx/ucx_transport.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl {
namespace {

// A rail that discovery has found and that can be opened.
struct FoundRail {
  RailInfo info;
  std::function<Result<std::unique_ptr<Rail>>()> open;
};

int socket_family(const Settings& settings) {
  switch (settings.get_choice<FamilyChoice>(Setting::kSocketFamily)) {
    case FamilyChoice::kAny:
      return AF_UNSPEC;
    case FamilyChoice::kInet:
      return AF_INET;
    case FamilyChoice::kInet6:
      return AF_INET6;
  }
  return AF_UNSPEC;
}

// RAILCCL_RAILS picks and orders what discovery has found.
Result<std::vector<FoundRail>> pick(const Settings& settings, const std::vector<FoundRail>& found) {
  const auto wanted = split_words(settings.get_text(Setting::kRails), ',');
  if (wanted.empty()) return found;
  std::vector<FoundRail> picked;
  for (const std::string_view name : wanted) {
    const auto match = std::find_if(found.begin(), found.end(),
                                    [&](const FoundRail& rail) { return rail.info.name == name; });
    if (match == found.end()) {
      std::vector<std::string> names;
      for (const FoundRail& rail : found) names.push_back(rail.info.name);
      return settings.bad_value(
          Setting::kRails,
          fmt::format("names of rails of this host, which has: {}", fmt::join(names, ", ")));
    }
    const bool twice = std::any_of(picked.begin(), picked.end(),
                                   [&](const FoundRail& rail) { return rail.info.name == name; });
    if (twice) return settings.bad_value(Setting::kRails, "names of rails, each once");
    picked.push_back(*match);
  }
  return picked;
}

TcpRailOptions tcp_options(const Settings& settings) {
  TcpRailOptions options;
  options.send_buffer_bytes = static_cast<int>(settings.get_bytes(Setting::kSocketSndbuf));
  options.receive_buffer_bytes = static_cast<int>(settings.get_bytes(Setting::kSocketRcvbuf));
  options.congestion_control = settings.get_text(Setting::kSocketCongestion);
  options.warn = [](std::string_view text) { RAILCCL_WARN(Subsys::kNet, "{}", text); };
  return options;
}

verbs::GidWish gid_wish(const Settings& settings) {
  return {
      .index = static_cast<int>(settings.get_int(Setting::kIbGidIndex)),
      .ipv6 = settings.get_choice<IbFamilyChoice>(Setting::kIbAddrFamily) == IbFamilyChoice::kInet6,
      .range = settings.get_text(Setting::kIbAddrRange),
      .roce_version = static_cast<int>(settings.get_int(Setting::kIbRoceVersionNum))};
}

RelaxedOrdering relaxed_ordering(const Settings& settings) {
  switch (settings.get_choice<RelaxedOrderingChoice>(Setting::kIbPciRelaxedOrdering)) {
    case RelaxedOrderingChoice::kOff:
      return RelaxedOrdering::kOff;
    case RelaxedOrderingChoice::kOn:
      return RelaxedOrdering::kOn;
    case RelaxedOrderingChoice::kAuto:
      return RelaxedOrdering::kWhereOffered;
  }
  return RelaxedOrdering::kWhereOffered;
}

VerbsRailOptions verbs_options(const Settings& settings) {
  return {.gid = gid_wish(settings),
          .ack_timeout = static_cast<int>(settings.get_int(Setting::kIbTimeout)),
          .retry_count = static_cast<int>(settings.get_int(Setting::kIbRetryCnt)),
          .queue_pairs = static_cast<int>(settings.get_int(Setting::kIbQpsPerConnection)),
          .traffic_class = static_cast<int>(settings.get_int(Setting::kIbTc)),
          .service_level = static_cast<int>(settings.get_int(Setting::kIbSl)),
          .partition_index = static_cast<int>(settings.get_int(Setting::kIbPkey)),
          .relaxed_ordering = relaxed_ordering(settings)};
}

Result<std::vector<FoundRail>> find_tcp(const Settings& settings) {
  const auto named = split_words(settings.get_text(Setting::kRails), ',');
  const auto found =
      discover_tcp_rails({.interface_spec = settings.get_text(Setting::kSocketIfname),
                          .expected = {named.begin(), named.end()},
                          .family = socket_family(settings)});
  if (!found) {
    return Error(found.error().with_context(
        "looking for TCP rails (RAILCCL_SOCKET_IFNAME, RAILCCL_SOCKET_FAMILY)"));
  }
  for (const std::string& warning : found->warnings) RAILCCL_WARN(Subsys::kNet, "{}", warning);
  std::vector<FoundRail> candidates;
  for (const TcpRailConfig& config : found->rails) {
    candidates.push_back({config.info, [config, options = tcp_options(settings)] {
                            return open_tcp_rail(config, options);
                          }});
  }
  return candidates;
}

// `wanted`: by name, so that to find none is an error; otherwise nothing is found where there is
// nothing. Text that is wrong is an error either way.
Result<std::vector<FoundRail>> find_verbs(const Settings& settings, const VerbsLibrary& api,
                                          bool wanted) {
  const VerbsDiscoveryOptions options{.hca_spec = settings.get_text(Setting::kIbHca),
                                      .gid = gid_wish(settings)};
  const auto found =
      api ? discover_verbs_rails(options, **api) : Result<VerbsDiscovery>(Error(api.error()));
  if (!found) {
    if (wanted || found.error().code() == Code::kInvalidArgument) {
      return Error(found.error().with_context("looking for verbs rails (RAILCCL_IB_HCA)"));
    }
    RAILCCL_INFO(Subsys::kNet, "no verbs rails: {}", found.error().message());
    return std::vector<FoundRail>{};
  }
  if (found->rails.empty() && wanted) {
    return error(Code::kInvalidUsage, "there is no verbs rail on this host: {}",
                 fmt::join(found->warnings, "; "));
  }
  // Ports that nobody has chosen may well be down; RDMA devices without any rail are not meant so.
  const bool surprising = settings.is_set(Setting::kIbHca) ||
                          settings.is_set(Setting::kIbGidIndex) ||
                          (found->rails.empty() && found->devices > 0);
  for (const std::string& warning : found->warnings) {
    if (surprising) RAILCCL_WARN(Subsys::kNet, "verbs: {}", warning);
    if (!surprising) RAILCCL_INFO(Subsys::kNet, "verbs: {}", warning);
  }
  std::vector<FoundRail> candidates;
  for (const VerbsRailConfig& config : found->rails) {
    candidates.push_back({config.info, [config, options = verbs_options(settings), api] {
                            return open_verbs_rail(config, options, **api);
                          }});
  }
  return candidates;
}

UcxRailOptions ucx_options(const Settings& settings) {
  UcxRailOptions options;
  options.transports = settings.get_text(Setting::kUcxTls);
  const auto add = [&](Setting setting, const char* name, int64_t value) {
    if (settings.is_set(setting)) options.rdma_settings.push_back({name, std::to_string(value)});
  };
  add(Setting::kIbGidIndex, "IB_GID_INDEX", settings.get_int(Setting::kIbGidIndex));
  add(Setting::kIbSl, "IB_SL", settings.get_int(Setting::kIbSl));
  add(Setting::kIbTc, "IB_TRAFFIC_CLASS", settings.get_int(Setting::kIbTc));
  return options;
}

// UCX over the RDMA ports, or over the network interfaces where there is none.
Result<std::vector<FoundRail>> find_ucx(const Settings& settings, const VerbsLibrary& api,
                                        const TransportWish& wish) {
  if (const Status available = ucx_available(); !available) {
    return settings.bad_value(
        wish.from,
        fmt::format("{} here: {}",
                    wish.from == Setting::kNet ? "IB, verbs, Socket or tcp" : "auto, verbs or tcp",
                    available.message()));
  }
  std::vector<FoundRail> ports;
  if (!settings.get_bool(Setting::kIbDisable)) {
    RAILCCL_ASSIGN(ports, find_verbs(settings, api, false));
  }
  if (ports.empty()) {
    RAILCCL_ASSIGN(ports, find_tcp(settings));
  }
  std::vector<FoundRail> candidates;
  for (const FoundRail& port : ports) {
    const UcxRailConfig config = ucx_rail_over(port.info);
    candidates.push_back({config.info, [config, options = ucx_options(settings)] {
                            return open_ucx_rail(config, options);
                          }});
  }
  return candidates;
}

// RDMA rails, and after them those of the last resort, if they are wanted and there are any.
Result<std::vector<FoundRail>> with_fallback(const Settings& settings,
                                             std::vector<FoundRail> rails) {
  if (!settings.get_bool(Setting::kTcpFallback)) return rails;
  auto tcp = find_tcp(settings);
  if (!tcp) {
    if (tcp.error().code() == Code::kInvalidArgument) return tcp;
    RAILCCL_WARN(Subsys::kNet, "no TCP rails to fall back on (RAILCCL_TCP_FALLBACK): {}",
                 tcp.error().message());
    return rails;
  }
  std::ranges::move(*tcp, std::back_inserter(rails));
  return rails;
}

// Verbs rails where there are any, else TCP, unless one was asked for.
Result<std::vector<FoundRail>> find_rails(const Settings& settings, const VerbsLibrary& api,
                                          const TransportWish& wish) {
  const bool disabled = settings.get_bool(Setting::kIbDisable);
  const bool wanted = wish.choice == TransportChoice::kVerbs;
  if (wanted && disabled) {
    return settings.bad_value(Setting::kIbDisable, "0, since verbs rails are asked for");
  }
  if (wish.choice == TransportChoice::kUcx) return find_ucx(settings, api, wish);
  if (wanted || (wish.choice == TransportChoice::kAuto && !disabled)) {
    RAILCCL_ASSIGN(auto candidates, find_verbs(settings, api, wanted));
    if (!candidates.empty()) return with_fallback(settings, std::move(candidates));
  }
  return find_tcp(settings);
}

}  // namespace

std::vector<std::string> usable_transports() {
  std::vector<std::string> names;
  if (verbs::load_verbs()) names.emplace_back(transport_name(TransportKind::kVerbs));
  if (ucx_available()) names.emplace_back(transport_name(TransportKind::kUcx));
  names.emplace_back(transport_name(TransportKind::kTcp));
  return names;
}

Result<std::vector<std::unique_ptr<Rail>>> open_rails(const Settings& settings) {
  return open_rails(settings, verbs::load_verbs());
}

Result<std::vector<std::unique_ptr<Rail>>> open_rails(const Settings& settings,
                                                      const VerbsLibrary& api) {
  RAILCCL_ASSIGN(const TransportWish wish, wished_transport(settings));
  RAILCCL_ASSIGN(const std::vector<FoundRail> found, find_rails(settings, api, wish));
  RAILCCL_ASSIGN(const std::vector<FoundRail> picked, pick(settings, found));
  std::vector<std::unique_ptr<Rail>> rails;
  // A rail that was asked for by name has to open; of the others those that do are used.
  const bool named = settings.is_set(Setting::kRails);
  Status first_refusal;
  for (const FoundRail& candidate : picked) {
    if (rails.size() == kMaxRails) {
      RAILCCL_WARN(Subsys::kNet,
                   "{} rails were found, {} are used: those from {} on are left out; RAILCCL_RAILS "
                   "says which to use",
                   picked.size(), kMaxRails, candidate.info.name);
      break;
    }
    auto rail = candidate.open();
    if (!rail) {
      if (named) return Error(rail.error());
      RAILCCL_WARN(Subsys::kNet, "rail {} {} is left out: {}",
                   transport_name(candidate.info.transport), candidate.info.name,
                   rail.error().message());
      if (first_refusal.is_ok()) first_refusal = rail.error();
      continue;
    }
    const RailInfo& info = (*rail)->info();
    RAILCCL_INFO(Subsys::kNet, "rail {}: {} {}, {} Mbit/s, address {}", rails.size(),
                 transport_name(info.transport), info.name, info.bytes_per_second / 125000,
                 info.address);
    rails.push_back(std::move(*rail));
  }
  if (rails.empty()) RAILCCL_TRY(first_refusal);
  return rails;
}

MemoryPlace place_of(const void* address) { return cuda::place_of(address); }

MemoryPlace place_of_now(const void* address) { return cuda::place_of_now(address); }

bool find_gpu_driver() { return cuda::find_driver() != nullptr; }

bool has_gpu_kernel() { return cuda::kernel_image() != nullptr; }

bool has_chosen_gpu() { return cuda::has_context(); }

bool load_gpu_driver() { return cuda::load_driver() != nullptr; }

Result<std::shared_ptr<Device>> open_device(const void* address, const DeviceOptions& options) {
  return cuda::CudaDevice::open(address, options);
}

Result<std::shared_ptr<Device>> open_device(int ordinal, const DeviceOptions& options) {
  return cuda::CudaDevice::open(ordinal, options);
}

Result<void*> allocate_on_device(size_t bytes) { return cuda::allocate(bytes); }

Status free_on_device(void* address) { return cuda::free(address); }

}  // namespace railccl
