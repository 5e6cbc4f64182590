// Communicators made from others: ncclCommSplit and ncclCommShrink. The members of the new one meet
// by a unique id that its lowest rank makes and the parent's control path carries.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "src/api/comm_handle.h"
#include "src/api/comm_init.h"
#include "src/api/export.h"
#include "src/api/group.h"
#include "src/api/last_error.h"

namespace railccl {
namespace {

using Ids = std::vector<UniqueIdBytes>;

struct Membership {
  int32_t color = 0;
  int32_t key = 0;
};

// Ranks of the parent that join the new communicator with this rank, in their new order.
std::vector<int> members_of(const std::vector<std::vector<std::byte>>& blobs, int32_t color) {
  std::vector<std::tuple<int32_t, int>> order;  // key, parent rank
  for (size_t rank = 0; rank < blobs.size(); ++rank) {
    Membership membership;
    if (blobs[rank].size() != sizeof membership) continue;
    std::memcpy(&membership, blobs[rank].data(), sizeof membership);
    if (membership.color == color) order.emplace_back(membership.key, static_cast<int>(rank));
  }
  std::sort(order.begin(), order.end());
  std::vector<int> members;
  for (const auto& [key, rank] : order) members.push_back(rank);
  return members;
}

Status check_all_came(const Communicator& parent,
                      const std::vector<std::vector<std::byte>>& blobs) {
  for (size_t rank = 0; rank < blobs.size(); ++rank) {
    if (!blobs[rank].empty()) continue;
    return error(Code::kPeerFailed,
                 "{} and does not take part: ncclCommShrink makes a communicator without it",
                 parent.left(static_cast<int>(rank)));
  }
  return Status::ok();
}

std::span<const std::byte> bytes_of(const Membership& membership) {
  return {reinterpret_cast<const std::byte*>(&membership), sizeof membership};
}

// The first member makes the id; everyone of the parent takes part in the gather that carries it.
Result<Ids> exchange_id(Communicator& parent, const std::vector<int>& members) {
  UniqueIdBytes mine{};
  const bool makes = !members.empty() && members.front() == parent.rank();
  const TimeNs timeout = parent.parts().options.bootstrap.rank_timeout_ns;
  if (makes) {
    BootstrapOptions options = parent.parts().options.bootstrap;
    RAILCCL_ASSIGN(mine, create_unique_id(options, ""));
  }
  const std::span<const std::byte> blob =
      makes ? std::span<const std::byte>(mine) : std::span<const std::byte>();
  RAILCCL_ASSIGN(const auto blobs, parent.gather(blob, timeout));
  if (members.empty()) return Ids{};
  const auto& carried = blobs[static_cast<size_t>(members.front())];
  if (carried.size() != mine.size()) {
    return error(Code::kPeerFailed,
                 "rank {} of the parent did not make an id for the new communicator",
                 members.front());
  }
  std::memcpy(mine.data(), carried.data(), mine.size());
  return Ids{mine};
}

Status split(ncclComm_t comm, int color, int key, ncclComm_t* newcomm, const ncclConfig_t* config) {
  constexpr std::string_view kFunction = "ncclCommSplit";
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> parent, core_of(comm, kFunction));
  if (newcomm == nullptr) {
    return error(Code::kInvalidArgument, "argument newcomm of {} is NULL", kFunction);
  }
  if (color < 0 && color != NCCL_SPLIT_NOCOLOR) {
    return error(Code::kInvalidArgument,
                 "argument color of {} is {}, it must be NCCL_SPLIT_NOCOLOR or at least 0",
                 kFunction, color);
  }
  RAILCCL_ASSIGN(CommConfig parsed, parse_config(config, kFunction));
  *newcomm = nullptr;
  const std::shared_ptr<Device> gpu = chosen_gpu(comm->options);
  return enqueue_start([=]() -> Status {
    const TimeNs timeout = parent->parts().options.bootstrap.rank_timeout_ns;
    const Membership mine{.color = color, .key = key};
    RAILCCL_ASSIGN(const auto blobs, parent->gather(bytes_of(mine), timeout));
    RAILCCL_TRY(check_all_came(*parent, blobs));
    const bool joins = color != NCCL_SPLIT_NOCOLOR;
    const std::vector<int> members = joins ? members_of(blobs, color) : std::vector<int>{};
    RAILCCL_ASSIGN(const Ids ids, exchange_id(*parent, members));
    if (!joins) return Status::ok();
    const auto position = std::find(members.begin(), members.end(), parent->rank());
    return create_comm(newcomm, {.function = std::string(kFunction),
                                 .ids = [ids] { return Result<Ids>(ids); },
                                 .rank = static_cast<int>(position - members.begin()),
                                 .ranks = static_cast<int>(members.size()),
                                 .device = comm->device,
                                 .gpu = gpu,
                                 .config = parsed,
                                 .options = comm->options});
  });
}

Result<std::vector<int>> survivors(const Communicator& parent, const int* excluded, int count,
                                   std::string_view function) {
  if (count < 0 || (count > 0 && excluded == nullptr)) {
    return error(Code::kInvalidArgument,
                 "arguments excludeRanksList and excludeRanksCount of {} do "
                 "not describe a list",
                 function);
  }
  std::set<int> without(excluded, excluded + count);
  std::vector<int> members;
  for (int rank = 0; rank < parent.ranks(); ++rank) {
    if (without.erase(rank) == 0) members.push_back(rank);
  }
  if (!without.empty()) {
    return error(Code::kInvalidArgument,
                 "argument excludeRanksList of {} names rank {}, but the "
                 "communicator has ranks 0 to {}",
                 function, *without.begin(), parent.ranks() - 1);
  }
  return members;
}

Status shrink(ncclComm_t comm, const int* excluded, int count, ncclComm_t* newcomm,
              const ncclConfig_t* config, int flags) {
  constexpr std::string_view kFunction = "ncclCommShrink";
  RAILCCL_TRY(check_handle(comm, kFunction));
  if (newcomm == nullptr) {
    return error(Code::kInvalidArgument, "argument newcomm of {} is NULL", kFunction);
  }
  if (flags != NCCL_SHRINK_DEFAULT && flags != NCCL_SHRINK_ABORT) {
    return error(Code::kInvalidArgument,
                 "argument shrinkFlags of {} is {}, allowed are NCCL_SHRINK_DEFAULT ({}) and "
                 "NCCL_SHRINK_ABORT ({})",
                 kFunction, flags, NCCL_SHRINK_DEFAULT, NCCL_SHRINK_ABORT);
  }
  RAILCCL_ASSIGN(const std::shared_ptr<Communicator> parent, core_of(comm, kFunction));
  RAILCCL_ASSIGN(const std::vector<int> members, survivors(*parent, excluded, count, kFunction));
  const auto position = std::find(members.begin(), members.end(), parent->rank());
  if (position == members.end()) {
    return error(Code::kInvalidUsage,
                 "rank {} calls {} although it is on the list of excluded ranks", parent->rank(),
                 kFunction);
  }
  RAILCCL_ASSIGN(const CommConfig parsed, parse_config(config, kFunction));
  if (flags == NCCL_SHRINK_ABORT) {
    parent->fail(
        Status(Code::kAborted, fmt::format("rank {} shrinks the communicator", parent->rank())));
  }
  const int rank = static_cast<int>(position - members.begin());
  return create_comm(newcomm, {.function = std::string(kFunction),
                               .ids = [parent, members] { return parent->share_id(members); },
                               .rank = rank,
                               .ranks = static_cast<int>(members.size()),
                               .device = comm->device,
                               .gpu = chosen_gpu(comm->options),
                               .config = parsed,
                               .options = comm->options});
}

}  // namespace
}  // namespace railccl

RAILCCL_API(ncclResult_t, CommSplit,
            (ncclComm_t comm, int color, int key, ncclComm_t* newcomm, ncclConfig_t* config)) {
  return railccl::answer(railccl::split(comm, color, key, newcomm, config));
}

RAILCCL_API(ncclResult_t, CommShrink,
            (ncclComm_t comm, int* excludeRanksList, int excludeRanksCount, ncclComm_t* newcomm,
             ncclConfig_t* config, int shrinkFlags)) {
  return railccl::answer(
      railccl::shrink(comm, excludeRanksList, excludeRanksCount, newcomm, config, shrinkFlags));
}
