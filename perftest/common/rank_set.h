// The communicators of this process's ranks, and what happens when one of them fails: the first
// error is written and kept, and nobody of this process waits for anybody any more. Shared by the
// ranks' threads and the watchdog.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "perftest/common/crew.h"
#include "perftest/common/library.h"

namespace railccl::perftest {

class RankSet {
 public:
  RankSet(Crew& crew, ncclComm_t control, int threads);

  // Makes the communicator of each of this process's ranks, from this thread, in one group, each
  // after `prepare` for its thread.
  Outcome<void> join_all(const ncclUniqueId& id, ncclConfig_t config,
                         const std::function<Outcome<void>(int thread)>& prepare);
  // Makes that of `thread` alone.
  Outcome<void> join_one(int thread, const ncclUniqueId& id, ncclConfig_t config);
  ncclComm_t comm(int thread) const;
  // Ends the rank's communicator, by the rank's own thread: it may wait for the other ranks.
  void leave(int thread);

  void fail(int thread, const Failure& failure);
  std::optional<Exit> failed() const;

 private:
  Crew& crew_;
  const ncclComm_t control_;
  mutable std::mutex mutex_;
  std::vector<Communicator> comms_;
  std::optional<Exit> failed_;
};

}  // namespace railccl::perftest
