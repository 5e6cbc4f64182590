#include "transport/ucx/ucx_context.h"

#include <array>
#include <filesystem>
#include <vector>

namespace railccl::ucx {
namespace {

// Every endpoint has a worker of its own, so that queues for one peer are enough. UCX's own of 4096
// receive buffers of 8 KiB, and memory for them by the thousand, are meant for all of a process.
constexpr std::array kQueueSettings = {"IB_RX_QUEUE_LEN", "IB_RX_BUFS_GROW", "IB_TX_BUFS_GROW"};
constexpr const char* kQueueBuffers = "256";

// UCX drops what comes over UD to another address than the port's, and reads that address in the
// way in which mlx5 reports it: with any other driver everything that came over IPv4 is dropped.
bool reports_packet_types(const std::string& device) {
  const auto driver = std::filesystem::path("/sys/class/infiniband") /
                      device.substr(0, device.find(':')) / "device" / "driver";
  std::error_code none;
  return std::filesystem::read_symlink(driver, none).filename() == "mlx5_core";
}

// From here on ucp_config_modify takes a setting of a transport by its whole name; before, without
// the name of the transport.
constexpr Version kWholeNames{1, 17};
// The switch of UCX's cache of registrations: of its InfiniBand transports before the second, of
// UCX itself from the first on.
constexpr Version kOwnCacheSwitch{1, 14};
constexpr Version kNoRegMethods{1, 16};

// UCX warns of settings that it does not know, or whose transports are not opened; new ones refuse
// them. So only those that are meant, by the names that this one has for them.
std::vector<UcxSetting> settings_of(const UcxRailConfig& config, const UcxRailOptions& options,
                                    Version version) {
  // Links watch their rails themselves. For its own watch UCX makes a lane over UD, sends what
  // connects the others over it, and aborts (ucp_request_send_state_ff of 1.13) when the endpoint
  // is closed, or UD gives up, before that has gone out.
  std::vector<UcxSetting> settings{
      {"NET_DEVICES", config.device}, {"TLS", options.transports}, {"KEEPALIVE_INTERVAL", "inf"}};
  if (config.rdma) {
    for (const char* setting : kQueueSettings) settings.push_back({setting, kQueueBuffers});
    if (!reports_packet_types(config.device)) settings.push_back({"UD_ETH_DGID_CHECK", "n"});
    // Registrations are cached above the rails; UCX's own cache would hook mmap and munmap of the
    // whole process.
    if (version < kNoRegMethods) settings.push_back({"REG_METHODS", "direct"});
    if (version >= kOwnCacheSwitch) settings.push_back({"RCACHE_ENABLE", "n"});
    settings.insert(settings.end(), options.rdma_settings.begin(), options.rdma_settings.end());
    return settings;
  }
  const std::string prefix = version < kWholeNames ? "" : "TCP_";
  // Else ucp_ep_create and ucp_worker_progress wait in connect(), minutes where nobody answers.
  settings.push_back({prefix + "CONN_NB", "y"});
  if (config.address.family() == AF_INET6) {
    settings.push_back({prefix + "AF_PRIO", "inet6,inet"});
  }
  return settings;
}

}  // namespace

Status UcxContext::failure(ucs_status_t status, std::string_view what) const {
  return error(Code::kRailFailed, "{}: {}", what, api_.status_string(status));
}

Result<std::unique_ptr<UcxContext>> UcxContext::open(const UcxApi& api, const UcxRailConfig& config,
                                                     const UcxRailOptions& options) {
  std::unique_ptr<UcxContext> opened(new UcxContext(api));
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  api.get_version(&major, &minor, &release);
  opened->version_ = {static_cast<uint8_t>(major), static_cast<uint8_t>(minor)};
  ucp_config_t* read = nullptr;
  if (const auto status = api.config_read(nullptr, nullptr, &read); status != UCS_OK) {
    return Error(opened->failure(status, "UCX cannot read its configuration (UCX_*)"));
  }
  const Config ucx_config(read, {api.config_release});
  for (const auto& [name, value] : settings_of(config, options, opened->version_)) {
    const auto status = api.config_modify(ucx_config.get(), name.c_str(), value.c_str());
    if (status == UCS_OK) continue;
    return Error(opened->failure(status, fmt::format("UCX_{}={}", name, value)));
  }
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS |
                      UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.estimated_num_eps = 1;
  params.mt_workers_shared = 1;  // a worker ends in a thread of its own
  ucp_context_h context = nullptr;
  const auto status =
      api.init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, ucx_config.get(), &context);
  if (status != UCS_OK) {
    return Error(opened->failure(
        status, fmt::format("UCX has no transport of '{}' for device {} (ucx_info -d shows what "
                            "it has)",
                            options.transports, config.device)));
  }
  opened->context_ = Context(context, {api.cleanup});
  return opened;
}

Result<Worker> UcxContext::create_worker() const {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucp_worker_h worker = nullptr;
  if (const auto status = api_.worker_create(context_.get(), &params, &worker); status != UCS_OK) {
    return Error(failure(status, "ucp_worker_create"));
  }
  return Worker(worker, {api_.worker_destroy});
}

Result<MappedMemory> UcxContext::map(const MemoryRegion& region) const {
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                      UCP_MEM_MAP_PARAM_FIELD_MEMORY_TYPE;
  params.address = region.address;
  params.length = region.bytes;
  params.memory_type = UCS_MEMORY_TYPE_HOST;
  ucp_mem_h handle = nullptr;
  if (const auto status = api_.mem_map(context_.get(), &params, &handle); status != UCS_OK) {
    return Error(
        failure(status, fmt::format("{} bytes cannot be registered with UCX (is the limit of "
                                    "locked memory, ulimit -l, large enough?)",
                                    region.bytes)));
  }
  return MappedMemory(api_, context_.get(), handle);
}

}  // namespace railccl::ucx
