#include "perftest/fabric_check/checked_collective.h"

#include <algorithm>
#include <utility>

#include "perftest/fabric_check/statistics.h"

namespace railccl::perftest::fabric {
namespace {

constexpr ncclDataType_t kType = ncclFloat;
constexpr size_t kElementBytes = 4;
constexpr int kRepetitions = 5;

Pattern pattern_of(const Collective& collective, int ranks) {
  PatternKey key{.type = kType, .op = {}, .seed = 7, .ranks = ranks};
  if (collective.reduces) key.op = Operator::kSum;
  return Pattern(key);
}

}  // namespace

const Collective* find_collective(std::string_view name) {
  for (const Collective* each :
       {&all_reduce(), &all_gather(), &broadcast(), &reduce(), &reduce_scatter(), &alltoall(),
        &gather(), &scatter(), &sendrecv()}) {
    if (each->program == std::string(name) + "_perf") return each;
  }
  return nullptr;
}

CheckedCollective::CheckedCollective(const Collective& collective, Session& session, uint64_t bytes,
                                     Memory send, Memory recv)
    : collective_(&collective),
      session_(&session),
      layout_(collective.layout({.count = bytes / kElementBytes,
                                 .element_bytes = kElementBytes,
                                 .ranks = session.ranks()})),
      position_{.rank = session.rank(), .ranks = session.ranks()},
      checked_(collective, layout_, position_, pattern_of(collective, session.ranks()), false),
      send_(std::move(send)),
      recv_(std::move(recv)) {}

Outcome<CheckedCollective> CheckedCollective::create(const Collective& collective, Session& session,
                                                     uint64_t bytes) {
  auto send = Memory::allocate(bytes + kGuardBytes);
  if (!send) return tl::unexpected(send.error());
  auto recv = Memory::allocate(bytes + kGuardBytes);
  if (!recv) return tl::unexpected(recv.error());
  return CheckedCollective(collective, session, bytes, std::move(*send), std::move(*recv));
}

void CheckedCollective::prepare() const { checked_.prepare(buffers()); }

Outcome<void> CheckedCollective::begin() const {
  return session_->issue(collective_->program, [this](ncclComm_t comm, railcclStream_t stream) {
    return collective_->run({.send = send_.data(),
                             .recv = recv_.data(),
                             .count = layout_.call_count,
                             .type = kType,
                             .op = ncclSum,
                             .position = position_,
                             .comm = comm,
                             .stream = stream});
  });
}

uint64_t CheckedCollective::count_wrong() const { return checked_.count_wrong(buffers()); }

double CheckedCollective::bus_gbps(double seconds) const {
  const uint64_t bytes = layout_.call_count * kElementBytes;
  return bandwidth(*collective_, bytes, session_->ranks(), seconds).bus * 8;
}

Outcome<CollectiveResult> check_collective(const Collective& collective, Session& session,
                                           uint64_t bytes) {
  const auto checked = CheckedCollective::create(collective, session, bytes);
  if (!checked) return tl::unexpected(checked.error());
  CollectiveResult result{
      .name = std::string(collective.program.substr(0, collective.program.rfind('_'))),
      .bytes = bytes};
  std::vector<double> times;
  for (int i = 0; i < kRepetitions; ++i) {
    checked->prepare();
    PERFTEST_TRY(session.barrier());
    const Deadline begin = Clock::now();
    PERFTEST_TRY(checked->begin());
    PERFTEST_TRY(checked->wait());
    std::vector<double> slowest = {seconds_since(begin)};
    result.wrong += checked->count_wrong();
    PERFTEST_TRY(session.combine(slowest, ncclMax));
    if (i > 0) times.push_back(slowest[0]);
  }
  const double seconds = std::max(median(std::move(times)), 1e-9);
  result.time_us = seconds * 1e6;
  result.bus_gbps = checked->bus_gbps(seconds);
  return result;
}

}  // namespace railccl::perftest::fabric
