// A collective of perftest/collectives on a session, with its data made, timed and checked, every
// element. Collective over all ranks of the session.
#pragma once

#include "perftest/common/collective.h"
#include "perftest/common/verify.h"
#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/session.h"

namespace railccl::perftest::fabric {

// "all_reduce", ... as in the names of the *_perf programs; null: there is none.
const Collective* find_collective(std::string_view name);

class CheckedCollective {
 public:
  static Outcome<CheckedCollective> create(const Collective& collective, Session& session,
                                           uint64_t bytes);

  // Fills the buffers anew; after begin() and Session::wait, count_wrong() of this rank's output.
  void prepare() const;
  Outcome<void> begin() const;
  Outcome<void> wait() const { return session_->wait(collective_->program); }
  uint64_t count_wrong() const;
  // 1e9 bits per second of bus bandwidth in so much time.
  double bus_gbps(double seconds) const;

 private:
  CheckedCollective(const Collective& collective, Session& session, uint64_t bytes, Memory send,
                    Memory recv);
  Buffers buffers() const { return {send_.data(), recv_.data()}; }

  const Collective* collective_;
  Session* session_;
  Layout layout_;
  Position position_;
  CheckedOperation checked_;
  Memory send_;
  Memory recv_;
};

// Some repetitions; `wrong` is that of this rank.
Outcome<CollectiveResult> check_collective(const Collective& collective, Session& session,
                                           uint64_t bytes);

}  // namespace railccl::perftest::fabric
