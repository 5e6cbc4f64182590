// The second node: does what the first one orders.
#pragma once

#include <memory>

#include "perftest/rail_perf/session.h"
#include "perftest/rail_perf/stream.h"

namespace railccl::perftest::railperf {

class Follower {
 public:
  // `pairs` as this node sees them, in the order of both.
  Follower(Session& session, std::vector<LinkOptions::Pair> pairs)
      : session_(session), pairs_(std::move(pairs)) {}
  ~Follower() { session_.end_activity(); }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Until the first node says that it is over, or the session fails.
  Status run();

 private:
  Answer obey(const Order& order);
  Status obey(const Order& order, Answer& answer);
  Status prepare(const Order& order);
  Status expect(const Order& order);
  void compare(const Order& order, Answer& answer);
  Status fill(const Order& order);
  Status stream(const Order& order, Answer& answer);
  void keep(uint32_t link, std::unique_ptr<Activity> activity);

  Session& session_;
  std::vector<LinkOptions::Pair> pairs_;
  std::unique_ptr<Activity> resident_;
  Receiver* receiver_ = nullptr;  // resident_, while checked puts come
  PutTimes times_;
};

}  // namespace railccl::perftest::railperf
