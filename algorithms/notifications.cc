#include "algorithms/notifications.h"

#include <algorithm>
#include <tuple>

namespace railccl::algorithms {
namespace {

struct Entry {
  int sender = 0;
  uint32_t tag = 0;
  uint32_t step = 0;
  auto key() const { return std::tie(sender, tag); }
};
using Entries = std::vector<Entry>;

bool is_sent(const Step& step) {
  return step.kind == StepKind::kPut || step.kind == StepKind::kSignal;
}

void sort(Entries& entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.key() < b.key(); });
}

// What is sent, by receiver.
std::vector<Entries> collect_sent(const ScheduleSet& set, bool credits) {
  std::vector<Entries> sent(set.ranks.size());
  for (size_t rank = 0; rank < set.ranks.size(); ++rank) {
    const auto& steps = set.ranks[rank].steps;
    for (size_t i = 0; i < steps.size(); ++i) {
      if (!is_sent(steps[i]) || steps[i].previous_lap != credits) continue;
      sent[static_cast<size_t>(steps[i].peer)].push_back(
          {static_cast<int>(rank), steps[i].tag, static_cast<uint32_t>(i)});
    }
  }
  for (Entries& entries : sent) sort(entries);
  return sent;
}

Entries collect_waits(const Schedule& schedule, bool credits) {
  Entries waits;
  for (size_t i = 0; i < schedule.steps.size(); ++i) {
    const Step& step = schedule.steps[i];
    if (step.kind != StepKind::kWait || step.previous_lap != credits) continue;
    waits.push_back({step.peer, step.tag, static_cast<uint32_t>(i)});
  }
  sort(waits);
  return waits;
}

Status check_unique(const Entries& sent, int receiver) {
  const auto twice = std::adjacent_find(
      sent.begin(), sent.end(), [](const Entry& a, const Entry& b) { return a.key() == b.key(); });
  if (twice == sent.end()) return Status::ok();
  return error(Code::kInvalidArgument,
               "rank {} step {}: its notification {} to rank {} is sent twice", twice->sender,
               (twice + 1)->step, twice->tag, receiver);
}

// Calls pair(send, wait) for all, which must fit one to one.
template <typename Pair>
Status match_all(const Entries& sent, const Entries& waits, size_t receiver, Pair pair) {
  RAILCCL_TRY(check_unique(sent, static_cast<int>(receiver)));
  auto send = sent.begin();
  for (const Entry& wait : waits) {
    if (send != sent.end() && send->key() < wait.key()) break;
    if (send == sent.end() || send->key() != wait.key()) {
      return error(Code::kInvalidArgument,
                   "rank {} step {}: waits for notification {} of rank {}, which is not sent or "
                   "already taken",
                   receiver, wait.step, wait.tag, wait.sender);
    }
    pair(*send, wait);
    ++send;
  }
  if (send == sent.end()) return Status::ok();
  return error(Code::kInvalidArgument,
               "rank {} step {}: rank {} never waits for its notification {}", send->sender,
               send->step, receiver, send->tag);
}

std::vector<std::vector<uint32_t>> no_steps(const ScheduleSet& set) {
  std::vector<std::vector<uint32_t>> steps;
  for (const Schedule& schedule : set.ranks) {
    steps.emplace_back(schedule.steps.size(), Notifications::kNoStep);
  }
  return steps;
}

}  // namespace

Result<Notifications> Notifications::match(const ScheduleSet& set) {
  Notifications result;
  result.steps_ = no_steps(set);
  const std::vector<Entries> sent = collect_sent(set, false);
  for (size_t rank = 0; rank < set.ranks.size(); ++rank) {
    const Entries waits = collect_waits(set.ranks[rank], false);
    RAILCCL_TRY(match_all(sent[rank], waits, rank, [&](const Entry& send, const Entry& wait) {
      result.steps_[rank][wait.step] = send.step;
      result.steps_[static_cast<size_t>(send.sender)][send.step] = wait.step;
    }));
  }
  return result;
}

Result<Notifications> Notifications::match_credits(const ScheduleSet& earlier,
                                                   const ScheduleSet& set) {
  Notifications result;
  result.steps_ = no_steps(set);
  const std::vector<Entries> sent = collect_sent(earlier, true);
  for (size_t rank = 0; rank < set.ranks.size(); ++rank) {
    const Entries waits = collect_waits(set.ranks[rank], true);
    const Status status = match_all(
        sent[rank], waits, rank,
        [&](const Entry& send, const Entry& wait) { result.steps_[rank][wait.step] = send.step; });
    if (!status) return error(status.code(), "{} in the next lap", status.message());
  }
  return result;
}

}  // namespace railccl::algorithms
