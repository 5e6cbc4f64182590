#include "perftest/rail_perf/meeting.h"

#include <algorithm>
#include <charconv>

#include "perftest/rail_perf/interrupt.h"
#include "src/core/launch_meeting.h"
#include "src/core/own_node.h"

namespace railccl::perftest::railperf {
namespace {

constexpr std::string_view kWays =
    "start it on two nodes, by mpirun, srun, torchrun or fabric-lab, or try it on this machine "
    "with --local 2 --virtual-nodes 2";

struct Place {
  int rank = 0;
  int ranks = 1;
  UniqueIdBytes id{};
};

Outcome<Place> place_by_mpi(const BootstrapOptions& bootstrap, std::optional<MpiProcess>& mpi) {
  auto process = MpiProcess::start();
  if (!process) return tl::unexpected(process.error());
  mpi.emplace(std::move(*process));
  Place place{.rank = mpi->rank(), .ranks = mpi->ranks()};
  if (place.rank == 0) {
    const auto id = create_unique_id(bootstrap, "");
    // All zeros: the others need not wait.
    if (id) place.id = *id;
    PERFTEST_TRY(mpi->broadcast(place.id));
    if (!id) return library_failure(id.error());
    return place;
  }
  PERFTEST_TRY(mpi->broadcast(place.id));
  if (place.id == UniqueIdBytes{}) return failure(Exit::kLibrary, "rank 0 could not begin");
  return place;
}

Outcome<Place> place_by_environment(const Runtime& runtime) {
  const auto launch = read_own_launch_env(runtime.settings(), 0);
  if (!launch) return failure(Exit::kUsage, "{}; {}", launch.error().message(), kWays);
  BootstrapOptions bootstrap = runtime.comm_options().bootstrap;
  bootstrap.ranks = launch->ranks;
  const auto id = launch_unique_id(*launch, bootstrap);
  if (!id) return library_failure(id.error());
  return Place{.rank = launch->rank, .ranks = launch->ranks, .id = *id};
}

bool is_called(const std::vector<NodeInfo>& ranks, const Member& member, const std::string& name) {
  int number = -1;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (problem == std::errc() && end == name.data() + name.size()) return number == member.node;
  return ranks[static_cast<size_t>(member.rank)].host == name;
}

}  // namespace

Outcome<Meeting> meet(Runtime& runtime) {
  Meeting meeting;
  const BootstrapOptions& settings = runtime.comm_options().bootstrap;
  const auto place =
      mpi_started_this() ? place_by_mpi(settings, meeting.mpi) : place_by_environment(runtime);
  if (!place) return tl::unexpected(place.error());
  BootstrapOptions bootstrap = settings;
  bootstrap.rank = place->rank;
  bootstrap.ranks = place->ranks;
  bootstrap.host_label = this_host_name();
  const std::vector<std::byte> info =
      pack(own_node_info(runtime.comm_options(), runtime.engine()->rails()));
  auto control = connect_bootstrap({&place->id, 1}, bootstrap, info, interrupted());
  if (!control) return library_failure(control.error());
  meeting.control = std::move(*control);
  for (int rank = 0; rank < place->ranks; ++rank) {
    auto node = unpack_node_info(meeting.control->info(rank));
    if (!node) return library_failure(node.error().with_context(fmt::format("rank {}", rank)));
    meeting.ranks.push_back(std::move(*node));
  }
  meeting.node_of = number_nodes(meeting.ranks, runtime.comm_options().ranks_per_node);
  return meeting;
}

Outcome<std::array<Member, 2>> choose_pair(const std::vector<NodeInfo>& ranks,
                                           const std::vector<int>& node_of,
                                           const std::vector<std::string>& asked) {
  std::vector<Member> members;  // by node: nodes are numbered by their first ranks
  for (size_t rank = 0; rank < node_of.size(); ++rank) {
    if (node_of[rank] == static_cast<int>(members.size())) {
      members.push_back({.node = node_of[rank], .rank = static_cast<int>(rank)});
    }
  }
  if (members.size() < 2) {
    return failure(Exit::kUsage, "all {} ranks are on one node ({}): {}", ranks.size(),
                   ranks.front().host, kWays);
  }
  if (asked.empty()) return std::array{members[0], members[1]};
  std::array<Member, 2> pair;
  for (size_t i = 0; i < pair.size(); ++i) {
    const auto found = std::ranges::find_if(
        members, [&](const Member& member) { return is_called(ranks, member, asked[i]); });
    if (found == members.end()) {
      return failure(Exit::kUsage, "--pair: there is no node '{}'; there are 0 to {}", asked[i],
                     members.size() - 1);
    }
    pair[i] = *found;
  }
  if (pair[0].node == pair[1].node) {
    return failure(Exit::kUsage, "--pair: '{}' and '{}' are the same node", asked[0], asked[1]);
  }
  return pair;
}

}  // namespace railccl::perftest::railperf
