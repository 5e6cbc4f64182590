#include "perftest/common/launch.h"

#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>

#include "perftest/common/local_job.h"

namespace railccl::perftest {
namespace {

int node_of(const LaunchPlan& plan, int rank) {
  const int nodes = plan.nodes > 0 ? plan.nodes : 1;
  return static_cast<int>(static_cast<int64_t>(rank) * nodes / plan.ranks);
}

bool port_is_free(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return free;
}

// A port below those that the system gives to outgoing connections, so that no rank's own
// connection takes it before rank 0 listens.
Outcome<uint16_t> find_port() {
  constexpr int kLowest = 10000;
  int first_ephemeral = 32768;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first_ephemeral;
  const int highest = first_ephemeral > kLowest + 1000 ? first_ephemeral - 1 : 32767;
  std::random_device random;
  std::uniform_int_distribution<int> any_port(kLowest, highest);
  for (int attempt = 0; attempt < 200; ++attempt) {
    const auto port = static_cast<uint16_t>(any_port(random));
    if (port_is_free(port)) return port;
  }
  return failure(Exit::kUsage, "no free port between {} and {} on 127.0.0.1", kLowest, highest);
}

Outcome<std::string> make_secret() {
  std::array<uint8_t, 16> bytes;
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return failure(Exit::kUsage, "getrandom: {}", std::strerror(errno));
  }
  return fmt::format("{:02x}", fmt::join(bytes, ""));
}

}  // namespace

std::vector<std::string> rank_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"/proc/self/exe"};
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--local" || argument == "--virtual-nodes") {
      ++i;  // and its value
    } else if (!argument.starts_with("--local=") && !argument.starts_with("--virtual-nodes=")) {
      command.push_back(argument);
    }
  }
  return command;
}

std::map<std::string, std::string> rank_environment(const LaunchPlan& plan,
                                                    const MeetingPoint& meeting, int rank) {
  const int nodes = plan.nodes > 0 ? plan.nodes : 1;
  const int node = node_of(plan, rank);
  int local_rank = 0;
  int local_ranks = 0;
  for (int other = 0; other < plan.ranks; ++other) {
    if (node_of(plan, other) != node) continue;
    ++local_ranks;
    if (other < rank) ++local_rank;
  }
  std::map<std::string, std::string> variables = {{"RANK", std::to_string(rank)},
                                                  {"WORLD_SIZE", std::to_string(plan.ranks)},
                                                  {"LOCAL_RANK", std::to_string(local_rank)},
                                                  {"LOCAL_WORLD_SIZE", std::to_string(local_ranks)},
                                                  {"GROUP_RANK", std::to_string(node)},
                                                  {"GROUP_WORLD_SIZE", std::to_string(nodes)},
                                                  {"MASTER_ADDR", "127.0.0.1"},
                                                  {"MASTER_PORT", std::to_string(meeting.port)},
                                                  {"RAILCCL_JOB_SECRET", meeting.secret},
                                                  // These would be looked at before MASTER_ADDR.
                                                  {"RAILCCL_COMM_ID", ""},
                                                  {"NCCL_COMM_ID", ""}};
  if (plan.nodes > 0) variables["RAILCCL_HOSTID"] = fmt::format("virtual-node-{}", node);
  return variables;
}

Outcome<int> launch(const LaunchPlan& plan) {
  const auto port = find_port();
  if (!port) return tl::unexpected(port.error());
  const auto secret = make_secret();
  if (!secret) return tl::unexpected(secret.error());
  auto job = LocalJob::create(plan.grace_ms);
  if (!job) return tl::unexpected(job.error());
  for (int rank = 0; rank < plan.ranks; ++rank) {
    PERFTEST_TRY(job->start(plan.command, rank_environment(plan, {*port, *secret}, rank),
                            rank == 0 || plan.all_show_output));
  }
  return job->wait();
}

}  // namespace railccl::perftest
