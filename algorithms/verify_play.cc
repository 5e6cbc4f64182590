#include "algorithms/verify_play.h"

#include <algorithm>

#include "algorithms/verify_structure.h"

namespace railccl::algorithms {
namespace {

uint64_t key_of(int rank, uint32_t step) { return static_cast<uint64_t>(rank) << 32 | step; }

size_t index(int rank) { return static_cast<size_t>(rank); }

}  // namespace

Player::Player(const std::vector<Lap>& laps)
    : laps_(laps),
      clocks_(laps[0].set->shape.layout->ranks()),
      accesses_(*laps[0].set, clocks_),
      lap_begin_(laps[0].set->ranks.size(), 0),
      paths_(laps[0].set->ranks.size()) {}

Status Player::run() {
  for (uint32_t number = 0; number < laps_.size(); ++number) RAILCCL_TRY(run_lap(number));
  return accesses_.check_ends();
}

Status Player::run_lap(uint32_t number) {
  lap_ = &laps_[number];
  lap_number_ = number;
  const int ranks = lap_->set->shape.layout->ranks();
  next_.assign(index(ranks), 0);
  contents_.reset();
  if (lap_->check_contents) contents_.emplace(*lap_->set);
  if (number > 0) accesses_.next_lap();
  find_credits();
  for (int rank = 0; rank < ranks; ++rank) runnable_.push_back(rank);
  while (!runnable_.empty()) {
    const int rank = runnable_.front();
    runnable_.pop_front();
    RAILCCL_TRY(run_rank(rank));
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const auto count = static_cast<uint32_t>(steps(rank).size());
    if (next_[index(rank)] < count) return deadlock();
    lap_begin_[index(rank)] += count + 1;
    clocks_.advance(rank, lap_begin_[index(rank)]);
  }
  last_credits_ = std::move(credits_);
  credits_.clear();
  return contents_ ? contents_->check_outputs() : Status::ok();
}

void Player::find_credits() {
  credit_steps_.assign(next_.size(), {});
  for (size_t rank = 0; rank < next_.size(); ++rank) {
    const auto& all = lap_->set->ranks[rank].steps;
    for (uint32_t i = 0; i < all.size(); ++i) {
      if (all[i].kind == StepKind::kSignal && all[i].previous_lap) credit_steps_[rank].push_back(i);
    }
  }
}

// As far as it gets; a notification for the wait it stands at makes it runnable again.
Status Player::run_rank(int rank) {
  uint32_t& next = next_[index(rank)];
  const auto& all = steps(rank);
  while (next < all.size()) {
    clocks_.advance(rank, lap_begin_[index(rank)] + next);
    if (!may_pass(rank, next, all[next])) return Status::ok();
    RAILCCL_TRY(play(rank, next, all[next]));
    ++next;
  }
  return Status::ok();
}

bool Player::may_pass(int rank, uint32_t step_number, const Step& step) const {
  if (step.kind != StepKind::kWait || step.previous_lap) return true;
  return next_[index(step.peer)] > lap_->notifications->partner(rank, step_number);
}

Status Player::play(int rank, uint32_t step_number, const Step& step) {
  if (is_data(step)) {
    RAILCCL_TRY(use_memory(rank, step_number, step));
    if (contents_) {
      const Status status = contents_->apply(rank, step);
      if (!status) return status.with_context(fmt::format("rank {} step {}", rank, step_number));
    }
  }
  if (step.kind == StepKind::kWait) {
    wait(rank, step_number, step);
  } else if (step.kind == StepKind::kPut || step.kind == StepKind::kSignal) {
    notify(rank, step_number, step);
  }
  return Status::ok();
}

void Player::wait(int rank, uint32_t step_number, const Step& step) {
  if (step.previous_lap) {
    if (lap_->credits == nullptr) return;
    const uint32_t sent = lap_->credits->partner(rank, step_number);
    clocks_.receive(rank, last_credits_.at(key_of(step.peer, sent)).knowledge);
    return;
  }
  const auto message =
      messages_.find(key_of(step.peer, lap_->notifications->partner(rank, step_number)));
  const Path sent = message->second.path;
  // The clock is the receiver's alone once the message is gone.
  const Knowledge knowledge = std::move(message->second.knowledge);
  messages_.erase(message);
  clocks_.receive(rank, knowledge);
  Path& path = paths_[index(rank)];
  path = {.inter = std::max(path.inter, sent.inter),
          .local = std::max(path.local, sent.local),
          .elements_inter = std::max(path.elements_inter, sent.elements_inter)};
}

void Player::notify(int rank, uint32_t step_number, const Step& step) {
  if (step.previous_lap) {
    credits_.emplace(key_of(rank, step_number), Message{clocks_.send(rank), {}});
    return;
  }
  Path path = paths_[index(rank)];
  if (lap_number_ == 0) {
    const bool local = lap_->set->shape.layout->same_node(rank, step.peer);
    ++(local ? path.local : path.inter);
    if (!local && step.kind == StepKind::kPut) path.elements_inter += step.count;
  }
  messages_.emplace(key_of(rank, step_number), Message{clocks_.send(rank), path});
  if (next_[index(step.peer)] == lap_->notifications->partner(rank, step_number)) {
    runnable_.push_back(step.peer);
  }
}

Access Player::access_of(int rank, uint32_t step_number, const Step& step) const {
  const uint32_t begin = lap_begin_[index(rank)];
  const Moment now{rank, begin + step_number};
  Access access{now, now, now, lap_number_, step_number};
  if (step.kind != StepKind::kPut) return access;
  access.end = {step.peer,
                lap_begin_[index(step.peer)] + lap_->notifications->partner(rank, step_number)};
  const auto& credits = credit_steps_[index(rank)];
  const auto credit = std::lower_bound(credits.begin(), credits.end(), step_number);
  const auto end_of_lap = static_cast<uint32_t>(steps(rank).size());
  access.acknowledged = {rank, begin + (credit == credits.end() ? end_of_lap : *credit)};
  return access;
}

Status Player::use_memory(int rank, uint32_t step_number, const Step& step) {
  const Schedule& schedule = lap_->set->ranks[index(rank)];
  const Access access = access_of(rank, step_number, step);
  const auto owner_of = [](const Slice& slice, int self) {
    return slice.owner == kSelf ? self : slice.owner;
  };
  for (const Slice& slice : sources(schedule, step)) {
    RAILCCL_TRY(accesses_.read(access, owner_of(slice, rank), slice, step.count));
  }
  const int self = step.kind == StepKind::kPut ? step.peer : rank;
  for (const Slice& slice : destinations(schedule, step)) {
    RAILCCL_TRY(accesses_.write(access, owner_of(slice, self), slice, step.count));
  }
  return Status::ok();
}

// Names a cycle of ranks that wait for each other.
Status Player::deadlock() const {
  int rank = 0;
  while (next_[index(rank)] == steps(rank).size()) ++rank;
  // Who waits for whom leads into a cycle after at most as many hops as there are ranks.
  for (size_t i = 0; i < next_.size(); ++i) {
    rank = steps(rank)[next_[index(rank)]].peer;
  }
  std::string text;
  const int first = rank;
  do {
    const uint32_t at = next_[index(rank)];
    const Step& step = steps(rank)[at];
    text += fmt::format("{}rank {} step {} waits for step {} of rank {}", text.empty() ? "" : "; ",
                        rank, at, lap_->notifications->partner(rank, at), step.peer);
    rank = step.peer;
  } while (rank != first && text.size() < 1000);
  return error(Code::kInvalidArgument, "deadlock: {}", text);
}

uint32_t Player::longest_path_inter() const {
  uint32_t most = 0;
  for (const Path& path : paths_) most = std::max(most, path.inter);
  return most;
}

uint64_t Player::path_elements_inter() const {
  uint64_t most = 0;
  for (const Path& path : paths_) most = std::max(most, path.elements_inter);
  return most;
}

uint32_t Player::longest_path_local() const {
  uint32_t most = 0;
  for (const Path& path : paths_) most = std::max(most, path.local);
  return most;
}

}  // namespace railccl::algorithms
