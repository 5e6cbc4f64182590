#include "perftest/common/rank_set.h"

#include <cstdio>

namespace railccl::perftest {

RankSet::RankSet(Crew& crew, ncclComm_t control, int threads)
    : crew_(crew), control_(control), comms_(static_cast<size_t>(threads)) {}

Outcome<void> RankSet::join_all(const ncclUniqueId& id, ncclConfig_t config,
                                const std::function<Outcome<void>(int thread)>& prepare) {
  std::vector<ncclComm_t> made(comms_.size(), nullptr);
  PERFTEST_TRY(check("ncclGroupStart", ncclGroupStart()));
  Outcome<void> joined;
  for (size_t thread = 0; joined && thread < made.size(); ++thread) {
    joined = prepare(static_cast<int>(thread));
    if (!joined) break;
    joined = check("ncclCommInitRankConfig",
                   ncclCommInitRankConfig(&made[thread], crew_.ranks(), id,
                                          crew_.rank_of(static_cast<int>(thread)), &config));
  }
  const auto ended = check("ncclGroupEnd after ncclCommInitRankConfig", ncclGroupEnd());
  const std::lock_guard lock(mutex_);
  for (size_t thread = 0; thread < made.size(); ++thread) {
    comms_[thread] = Communicator(made[thread]);
  }
  return joined ? ended : joined;
}

Outcome<void> RankSet::join_one(int thread, const ncclUniqueId& id, ncclConfig_t config) {
  ncclComm_t made = nullptr;
  PERFTEST_TRY(
      check("ncclCommInitRankConfig",
            ncclCommInitRankConfig(&made, crew_.ranks(), id, crew_.rank_of(thread), &config)));
  const std::lock_guard lock(mutex_);
  comms_[static_cast<size_t>(thread)] = Communicator(made);
  return {};
}

ncclComm_t RankSet::comm(int thread) const {
  const std::lock_guard lock(mutex_);
  return comms_[static_cast<size_t>(thread)].get();
}

void RankSet::leave(int thread) {
  Communicator leaving;
  {
    const std::lock_guard lock(mutex_);
    leaving = std::move(comms_[static_cast<size_t>(thread)]);
    if (failed_) leaving.abandon();
  }
}

void RankSet::fail(int thread, const Failure& failure) {
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  failed_ = failure.exit;
  fmt::print(stderr, "rank {}: {}\n", crew_.rank_of(thread), failure.message);
  std::fflush(stderr);
  crew_.give_up();
  // Wakes the other threads; each ends its own communicator. What these calls say adds nothing.
  for (const Communicator& comm : comms_) {
    if (comm) static_cast<void>(ncclCommRevoke(comm.get(), NCCL_REVOKE_DEFAULT));
  }
  if (control_ != nullptr) static_cast<void>(ncclCommRevoke(control_, NCCL_REVOKE_DEFAULT));
}

std::optional<Exit> RankSet::failed() const {
  const std::lock_guard lock(mutex_);
  return failed_;
}

}  // namespace railccl::perftest
