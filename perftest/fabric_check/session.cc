#include "perftest/fabric_check/session.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace railccl::perftest::fabric {
namespace {

constexpr std::chrono::milliseconds kStartPoll{1};

tl::unexpected<Failure> no_answer(std::string_view name, Seconds patience) {
  return failure(Exit::kTimeout, "{}: no answer within {:.3g} s", name, patience.count());
}

}  // namespace

Outcome<std::unique_ptr<Session>> Session::join(const Membership& membership, Seconds patience) {
  std::unique_ptr<Session> session(new Session(membership, patience));
  PERFTEST_TRY(session->end_if_failed(session->start(membership)));
  return session;
}

Outcome<void> Session::start(const Membership& membership) {
  PERFTEST_TRY(check("railcclStreamCreate", railcclStreamCreate(&stream_)));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t begun = ncclCommInitRankConfig(&comm_, ranks_, membership.id, rank_, &config);
  if (begun != ncclInProgress) PERFTEST_TRY(check("ncclCommInitRankConfig", begun));
  const Deadline until = Clock::now() + std::chrono::duration_cast<Clock::duration>(patience_);
  ncclResult_t state = ncclInProgress;
  while (state == ncclInProgress) {
    PERFTEST_TRY(check("ncclCommGetAsyncError", ncclCommGetAsyncError(comm_, &state), comm_));
    if (state != ncclInProgress) break;
    if (Clock::now() >= until) return no_answer("start of a communicator", patience_);
    std::this_thread::sleep_for(kStartPoll);
  }
  PERFTEST_TRY(check("ncclCommInitRankConfig", state, comm_));
  return {};
}

// What these calls say after a failure adds nothing to it.
Session::~Session() {
  if (comm_ != nullptr) static_cast<void>(ncclCommDestroy(comm_));
  if (stream_ != nullptr) static_cast<void>(railcclStreamDestroy(stream_));
}

Outcome<void> Session::end_if_failed(Outcome<void> outcome) {
  if (!outcome && comm_ != nullptr) static_cast<void>(ncclCommAbort(std::exchange(comm_, nullptr)));
  return outcome;
}

Outcome<void> Session::issue(std::string_view name, const Call& call) {
  return check(name, call(comm_, stream_), comm_);
}

Outcome<void> Session::wait(std::string_view name) {
  const auto limit = static_cast<unsigned>(patience_.count() * 1e3);
  const ncclResult_t result = railcclStreamWait(stream_, std::max(limit, 1U));
  if (result == ncclInProgress) return end_if_failed(no_answer(name, patience_));
  return end_if_failed(check(name, result, comm_));
}

Outcome<void> Session::run(std::string_view name, const Call& call) {
  PERFTEST_TRY(end_if_failed(issue(name, call)));
  return wait(name);
}

Outcome<void> Session::run_group(std::string_view name,
                                 const std::function<Outcome<void>()>& issue_all) {
  PERFTEST_TRY(check("ncclGroupStart", ncclGroupStart()));
  const auto issued = issue_all();
  const auto ended = check("ncclGroupEnd", ncclGroupEnd(), comm_);
  PERFTEST_TRY(end_if_failed(issued));
  PERFTEST_TRY(end_if_failed(ended));
  return wait(name);
}

Outcome<void> Session::combine(std::vector<double>& values, ncclRedOp_t op) {
  return run("ncclAllReduce", [&](ncclComm_t comm, railcclStream_t stream) {
    return ncclAllReduce(values.data(), values.data(), values.size(), ncclDouble, op, comm, stream);
  });
}

Outcome<void> Session::barrier() {
  std::vector<double> nothing(1);
  return combine(nothing, ncclMax);
}

Outcome<std::vector<railcclRailStats_t>> Session::rails() {
  int count = 0;
  PERFTEST_TRY(
      check("railcclCommRailStats", railcclCommRailStats(comm_, nullptr, 0, &count), comm_));
  std::vector<railcclRailStats_t> rails(static_cast<size_t>(count));
  PERFTEST_TRY(check("railcclCommRailStats",
                     railcclCommRailStats(comm_, rails.data(), count, &count), comm_));
  rails.resize(std::min(rails.size(), static_cast<size_t>(count)));
  return rails;
}

Outcome<void> Session::set_rail(int rail, bool on) {
  return check("railcclCommSetRail", railcclCommSetRail(comm_, rail, on ? 1 : 0), comm_);
}

}  // namespace railccl::perftest::fabric
