#include "src/core/launch_env.h"

#include <array>
#include <charconv>

#include "src/core/net_address.h"

namespace railccl {
namespace {

constexpr std::string_view kWays =
    "Ways to start: torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT); mpirun "
    "(OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE) with MASTER_ADDR and MASTER_PORT or "
    "RAILCCL_COMM_ID=host:port when there are several hosts; mpiexec with PMI (PMI_RANK, "
    "PMI_SIZE), "
    "the same; srun (SLURM_PROCID, SLURM_NTASKS); or ncclGetUniqueId and ncclCommInitRank with a "
    "way of your own to pass the id";

// Names of one launcher's variables, in order of preference where there are two.
struct Names {
  std::string_view launcher;
  std::string_view rank;
  std::array<std::string_view, 2> ranks;
  std::array<std::string_view, 2> local_rank;
  std::array<std::string_view, 2> local_ranks;
};
constexpr std::array<Names, 4> kLaunchers = {{
    {"torchrun", "RANK", {"WORLD_SIZE"}, {"LOCAL_RANK"}, {"LOCAL_WORLD_SIZE"}},
    {"Open MPI",
     "OMPI_COMM_WORLD_RANK",
     {"OMPI_COMM_WORLD_SIZE"},
     {"OMPI_COMM_WORLD_LOCAL_RANK"},
     {"OMPI_COMM_WORLD_LOCAL_SIZE"}},
    {"PMI",
     "PMI_RANK",
     {"PMI_SIZE"},
     {"MPI_LOCALRANKID", "PMI_LOCAL_RANK"},
     {"MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"}},
    {"Slurm", "SLURM_PROCID", {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, {"SLURM_LOCALID"}, {}},
}};

class Reader {
 public:
  explicit Reader(const EnvLookup& environment) : environment_(environment) {}

  // Set and not empty.
  std::optional<std::string> text(std::string_view name) const {
    if (name.empty()) return std::nullopt;
    auto value = environment_(name);
    return value && !value->empty() ? value : std::nullopt;
  }
  std::string text_or_empty(std::string_view name) const { return text(name).value_or(""); }
  // The first of two names that is set; else the first name.
  std::string_view set_one(const std::array<std::string_view, 2>& names) const {
    return !text(names[0]) && text(names[1]) ? names[1] : names[0];
  }
  Result<int> number(std::string_view name) const {
    const std::string value = text_or_empty(name);
    int result = 0;
    const char* end = value.data() + value.size();
    const auto [stop, problem] = std::from_chars(value.data(), end, result);
    if (problem != std::errc() || stop != end || result < 0) {
      return error(Code::kInvalidUsage, "{}='{}' is not a number", name, value);
    }
    return result;
  }

 private:
  const EnvLookup& environment_;
};

// Complete: rank and number of ranks are set.
bool complete(const Reader& env, const Names& names) {
  return env.text(names.rank) && env.text(env.set_one(names.ranks));
}

Error nothing_complete(const Reader& env) {
  std::string half;
  for (const Names& names : kLaunchers) {
    const std::string_view ranks = names.ranks[0];
    const bool has_rank = env.text(names.rank).has_value();
    if (!has_rank && !env.text(env.set_one(names.ranks))) continue;
    half += fmt::format("{}{} is set but {} is not", half.empty() ? "" : "; ",
                        has_rank ? names.rank : env.set_one(names.ranks),
                        has_rank ? ranks : names.rank);
  }
  if (env.text("PMIX_RANK")) {
    half +=
        fmt::format("{}PMIX_RANK is set, but PMIx tells the number of ranks to PMIx programs only",
                    half.empty() ? "" : "; ");
  }
  return error(Code::kInvalidUsage,
               "the environment does not say which rank this process is{}{}. {}",
               half.empty() ? "" : ": ", half, kWays);
}

Status read_place(const Reader& env, const Names& names, LaunchEnv& launch) {
  const std::string_view ranks_name = env.set_one(names.ranks);
  RAILCCL_ASSIGN(launch.rank, env.number(names.rank));
  RAILCCL_ASSIGN(launch.ranks, env.number(ranks_name));
  if (launch.rank >= launch.ranks) {
    return error(Code::kInvalidUsage,
                 "{}={} and {}={} contradict each other: ranks go from 0 to {}", names.rank,
                 launch.rank, ranks_name, launch.ranks, launch.ranks - 1);
  }
  const std::string_view local_rank_name = env.set_one(names.local_rank);
  const std::string_view local_ranks_name = env.set_one(names.local_ranks);
  launch.local_rank = -1;
  if (env.text(local_rank_name)) {
    RAILCCL_ASSIGN(launch.local_rank, env.number(local_rank_name));
  }
  if (env.text(local_ranks_name)) {
    RAILCCL_ASSIGN(launch.local_ranks, env.number(local_ranks_name));
  }
  if (launch.local_ranks > launch.ranks ||
      (launch.local_ranks > 0 && launch.local_rank >= launch.local_ranks)) {
    return error(Code::kInvalidUsage, "{}={}, {}={} and {}={} contradict each other",
                 local_rank_name, launch.local_rank, local_ranks_name, launch.local_ranks,
                 ranks_name, launch.ranks);
  }
  return Status::ok();
}

// What is the same for all processes of one start and different for any other.
std::string job_name(const Reader& env, const LaunchEnv& launch, const LaunchOptions& options) {
  std::string name = fmt::format("{}\n{}\n{}", launch.launcher, launch.ranks, options.instance);
  for (const std::string_view variable :
       {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "PMIX_NAMESPACE", "PMI_JOBID",
        "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"}) {
    // Open MPI and PMI may run inside a Slurm job, whose step differs from host to host.
    if (launch.launcher != "Slurm" && variable.starts_with("SLURM_STEP")) continue;
    name += fmt::format("\n{}", env.text_or_empty(variable));
  }
  return name;
}

// FNV-1a; ports below the range that Linux gives to outgoing connections.
uint16_t port_of(std::string_view job) {
  constexpr uint32_t kFirstPort = 20000;
  constexpr uint32_t kPorts = 12000;
  uint32_t hash = 2166136261u;
  for (const char c : job) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return static_cast<uint16_t>(kFirstPort + hash % kPorts / kRootPortCount * kRootPortCount);
}

Status use_master(const Reader& env, LaunchEnv& launch) {
  RAILCCL_ASSIGN(const int port, env.number("MASTER_PORT"));
  if (port < 1 || port > 65535) {
    return error(Code::kInvalidUsage, "MASTER_PORT={} is not a port: 1 to 65535", port);
  }
  launch.root_host = *env.text("MASTER_ADDR");
  // At the end of the range the ports before it serve.
  launch.root_port =
      static_cast<uint16_t>(port + kRootPortCount <= 65535 ? port + 1 : port - kRootPortCount);
  launch.root_ports = kRootPortCount;
  return Status::ok();
}

Status use_job(const Reader& env, const std::string& job, LaunchEnv& launch) {
  const bool one_host = launch.local_ranks > 0 && launch.local_ranks == launch.ranks;
  const std::string_view list_name =
      env.text("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_NODELIST";
  if (launch.launcher == "Slurm" && env.text(list_name)) {
    launch.root_host = first_slurm_host(*env.text(list_name));
    if (launch.root_host.empty()) {
      return error(Code::kInvalidUsage, "{}='{}' is not a Slurm node list", list_name,
                   *env.text(list_name));
    }
  } else if (launch.launcher == "Slurm" && env.text("SLURM_LAUNCH_NODE_IPADDR")) {
    launch.root_host = *env.text("SLURM_LAUNCH_NODE_IPADDR");
  } else if (one_host || launch.ranks == 1) {
    launch.root_host = "127.0.0.1";
  } else {
    return error(Code::kInvalidUsage,
                 "{} does not tell where rank 0 is: set MASTER_ADDR and MASTER_PORT, or "
                 "RAILCCL_COMM_ID=host:port, to an address of rank 0's host. {}",
                 launch.launcher, kWays);
  }
  launch.root_port = port_of(job);
  launch.root_ports = kRootPortCount;
  return Status::ok();
}

Status find_root(const Reader& env, const LaunchOptions& options, LaunchEnv& launch) {
  const std::string job = job_name(env, launch, options);
  launch.secret = fmt::format("{}\n{}", job, options.job_secret);
  if (!options.comm_id.empty()) {
    const Result<boot::HostPort> root = boot::parse_host_port(options.comm_id);
    if (!root) return root.error().with_context("RAILCCL_COMM_ID");
    launch.root_host = root->host;
    launch.root_port = root->port;
    return Status::ok();
  }
  const bool has_address = env.text("MASTER_ADDR").has_value();
  const bool has_port = env.text("MASTER_PORT").has_value();
  if (has_address && has_port) return use_master(env, launch);
  if (launch.launcher == "torchrun" || has_address != has_port) {
    return error(Code::kInvalidUsage,
                 "{} set: MASTER_ADDR and MASTER_PORT say where rank 0 is (or set "
                 "RAILCCL_COMM_ID=host:port). {}",
                 has_address ? "MASTER_PORT is not"
                 : has_port  ? "MASTER_ADDR is not"
                             : "MASTER_ADDR and MASTER_PORT are not",
                 kWays);
  }
  return use_job(env, job, launch);
}

}  // namespace

std::string first_slurm_host(std::string_view node_list) {
  const size_t end = node_list.find_first_of(",[");
  std::string host(node_list.substr(0, end));
  if (end == std::string_view::npos || node_list[end] == ',') return host;
  const size_t close = node_list.find(']', end);
  const size_t stop = node_list.find_first_of(",-]", end + 1);
  if (close == std::string_view::npos || stop == end + 1) return "";
  host += node_list.substr(end + 1, stop - end - 1);
  const size_t rest = node_list.find_first_of(",[", close + 1);
  if (rest != std::string_view::npos && node_list[rest] == '[') return "";  // two ranges in a name
  return host + std::string(node_list.substr(close + 1, rest - std::min(rest, close + 1)));
}

Result<LaunchEnv> read_launch_env(const EnvLookup& environment, const LaunchOptions& options) {
  const Reader env(environment);
  for (const Names& names : kLaunchers) {
    if (!complete(env, names)) continue;
    LaunchEnv launch{.launcher = std::string(names.launcher)};
    RAILCCL_TRY(read_place(env, names, launch));
    RAILCCL_TRY(find_root(env, options, launch));
    return launch;
  }
  return nothing_complete(env);
}

}  // namespace railccl
