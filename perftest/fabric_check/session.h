// A communicator that fabric_check measures with: every wait on it has a deadline, and at the first
// failure it is aborted, so that nothing touches the caller's buffers any more. One thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "perftest/common/library.h"

namespace railccl::perftest::fabric {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
using Seconds = std::chrono::duration<double>;

inline double seconds_since(Deadline begin) { return Seconds(Clock::now() - begin).count(); }

struct Membership {
  ncclUniqueId id;
  int ranks = 2;
  int rank = 0;
};

class Session {
 public:
  // `patience`: for the others to come, and for each wait.
  static Outcome<std::unique_ptr<Session>> join(const Membership& membership, Seconds patience);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  ncclComm_t comm() const { return comm_; }
  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  Seconds patience() const { return patience_; }

  using Call = std::function<ncclResult_t(ncclComm_t, railcclStream_t)>;
  // Gives the operation to the session's stream; wait() or the end of the group follows.
  Outcome<void> issue(std::string_view name, const Call& call);
  // Until everything that was issued is done; an error when that takes longer than the patience.
  Outcome<void> wait(std::string_view name);
  Outcome<void> run(std::string_view name, const Call& call);
  // `issue_all` issues several, which run at the same time.
  Outcome<void> run_group(std::string_view name, const std::function<Outcome<void>()>& issue_all);

  // The least, or largest, of all ranks' values, element by element.
  Outcome<void> combine(std::vector<double>& values, ncclRedOp_t op);
  Outcome<void> barrier();

  Outcome<std::vector<railcclRailStats_t>> rails();
  Outcome<void> set_rail(int rail, bool on);

 private:
  Session(const Membership& membership, Seconds patience)
      : rank_(membership.rank), ranks_(membership.ranks), patience_(patience) {}
  Outcome<void> start(const Membership& membership);
  Outcome<void> end_if_failed(Outcome<void> outcome);

  int rank_;
  int ranks_;
  Seconds patience_;
  ncclComm_t comm_ = nullptr;
  railcclStream_t stream_ = nullptr;
};

}  // namespace railccl::perftest::fabric
