#include "src/core/bootstrap_root.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>
#include <thread>

#include "src/base/log.h"

namespace railccl::boot {
namespace {

constexpr TimeNs kLinger = 10 * kSecond;  // after a failure, to tell those who come late
constexpr size_t kNamesInText = 16;
constexpr uint32_t kMaxRanks = 1u << 20;

int wait_ms_until(TimeNs deadline, TimeNs now) {
  constexpr TimeNs kLongest = 3600 * kSecond;
  const TimeNs wait = std::min(deadline - std::min(deadline, now), kLongest);
  return static_cast<int>((wait + kMillisecond - 1) / kMillisecond);
}

}  // namespace

Result<std::unique_ptr<RootServer>> RootServer::create(const RootOptions& options,
                                                       UniqueFd listener) {
  RAILCCL_ASSIGN(Poller poller, Poller::create());
  std::unique_ptr<RootServer> self(new RootServer(options, std::move(poller)));
  self->door_ = std::make_unique<Doorkeeper>(std::move(listener), options.key,
                                             fmt::format("the root at {}", options.address),
                                             options.door, self->poller_);
  RAILCCL_TRY(self->door_->open());
  return self;
}

RootServer::RootServer(const RootOptions& options, Poller poller)
    : options_(options), poller_(std::move(poller)) {}

RootServer::~RootServer() = default;

bool RootServer::step(const Clock& clock, int wait_ms) {
  const std::span<const int> ready = poller_.ready(wait_ms);
  now_ = clock.now_ns();
  for (const int fd : ready) {
    if (!door_->handle(fd, now_, *this)) receive(fd);
  }
  door_->tick(now_);
  check_times();
  return state_ != State::kDone;
}

TimeNs RootServer::next_deadline() const { return std::min(deadline_, door_->next_deadline()); }

Verdict RootServer::on_proven(const Hello& hello) {
  const bool ours = hello.purpose == Purpose::kJoin || hello.purpose == Purpose::kProbe;
  return ours && hello.to == kToRoot ? Verdict::kAccepted : Verdict::kWrongPlace;
}

void RootServer::on_admitted(const Hello& hello, FrameStream stream, TimeNs) {
  if (hello.purpose == Purpose::kProbe) return;  // the welcome was the answer
  const int fd = stream.fd();
  if (!poller_.watch(fd, false)) return;  // the rank finds the connection closed and comes again
  Guest& guest =
      guests_
          .emplace(fd, Guest{.stream = std::move(stream), .rank = hello.from, .ranks = hello.ranks})
          .first->second;
  if (state_ == State::kFailed) tell(guest, RootFrame::kFailed, pack_failed(failure_));
  receive(fd);
}

std::string RootServer::describe(const Guest& guest) const {
  return fmt::format("rank {} (host {}, process {})", guest.rank, guest.record.host,
                     guest.record.pid);
}

void RootServer::receive(int fd) {
  const auto found = guests_.find(fd);
  if (found == guests_.end()) return;
  Guest& guest = found->second;
  const Result<bool> read = guest.stream.read_some();
  (void)guest.stream.flush();
  for (;;) {
    const auto frame = guest.stream.next_frame();
    Status fine = frame ? Status::ok() : frame.error();
    if (frame && !*frame) break;
    if (frame) fine = handle_frame(guest, **frame);
    if (fine) continue;
    fail(fine);
    return;
  }
  if (read) return;
  const bool lost = guest.joined && !guest.met && state_ != State::kFailed;
  const std::string who = describe(guest);
  remove(fd);
  if (lost) {
    fail(error(Code::kPeerFailed, "{} ended while the ranks were meeting ({})", who,
               read.error().message()));
  }
}

Status RootServer::handle_frame(Guest& guest, const Frame& frame) {
  if (state_ == State::kFailed) return Status::ok();
  switch (static_cast<RootFrame>(frame.type)) {
    case RootFrame::kJoin: {
      RAILCCL_ASSIGN(const JoinRecord record, unpack_join(frame.payload));
      return join(guest, record);
    }
    case RootFrame::kMet:
      if (!guest.met) ++met_;
      guest.met = true;
      if (met_ == expected_) state_ = State::kDone;
      return Status::ok();
    case RootFrame::kFailed:
      end_meeting(unpack_failed(frame.payload));  // whoever found it has logged it
      return Status::ok();
    case RootFrame::kParent:
      break;
  }
  return error(Code::kPeerFailed, "rank {} sent a malformed frame to the root", guest.rank);
}

Status RootServer::check_shape(const Guest& guest, const JoinRecord& record) {
  if (!tree_) {
    if (guest.ranks == 0 || guest.ranks > kMaxRanks || record.roots == 0 ||
        record.roots > guest.ranks || record.root >= record.roots) {
      return error(Code::kInvalidArgument, "{} wants to meet {} ranks at {} roots", describe(guest),
                   guest.ranks, record.roots);
    }
    tree_.emplace(static_cast<int>(guest.ranks), static_cast<int>(record.roots));
    root_ = static_cast<int>(record.root);
    expected_ = tree_->joining(root_).size();
    first_came_ = now_;
    deadline_ = now_ + options_.rank_timeout_ns;
  }
  if (guest.ranks != static_cast<uint32_t>(tree_->ranks())) {
    return error(Code::kMismatch,
                 "{} says there are {} ranks, others say {}: give every rank the same number of "
                 "ranks",
                 describe(guest), guest.ranks, tree_->ranks());
  }
  if (guest.rank >= guest.ranks) {
    return error(Code::kMismatch, "{} is out of range: ranks go from 0 to {}", describe(guest),
                 guest.ranks - 1);
  }
  if (record.roots != static_cast<uint32_t>(tree_->roots()) ||
      record.root != static_cast<uint32_t>(root_) ||
      !tree_->joins(static_cast<int>(guest.rank), root_)) {
    return error(Code::kMismatch,
                 "{} has another list of unique ids than others ({} ids, this one at position {}; "
                 "others: {} ids, position {}): give every rank the same ids in the same order",
                 describe(guest), record.roots, record.root, tree_->roots(), root_);
  }
  return Status::ok();
}

Status RootServer::join(Guest& guest, const JoinRecord& record) {
  guest.record = record;
  RAILCCL_TRY(check_shape(guest, record));
  const int rank = static_cast<int>(guest.rank);
  if (const auto other = by_rank_.find(rank); other != by_rank_.end()) {
    const Guest& first = guests_.at(other->second);
    return error(Code::kMismatch,
                 "rank {} came twice: as process {} on host {} and as process {} on host {}: give "
                 "each process its own rank, and each communicator its own unique id",
                 rank, first.record.pid, first.record.host, record.pid, record.host);
  }
  guest.joined = true;
  by_rank_[rank] = guest.stream.fd();
  if (by_rank_.size() == expected_) {
    // Before the last one is answered, so that whoever is through may use the address again.
    if (options_.address_is_reused) door_->close_listener();
    state_ = State::kAllHere;
    deadline_ = now_ + options_.rank_timeout_ns;
  }
  introduce(rank);
  return Status::ok();
}

void RootServer::introduce(int rank) {
  const auto tell_parent = [this](int child, int parent) {
    const auto one = by_rank_.find(child);
    const auto other = by_rank_.find(parent);
    if (one == by_rank_.end() || other == by_rank_.end()) return;
    tell(guests_.at(one->second), RootFrame::kParent,
         pack_parent(guests_.at(other->second).record.address));
  };
  tell_parent(rank, tree_->parent(rank));
  for (const int child : tree_->children(rank)) tell_parent(child, rank);
}

void RootServer::tell(Guest& guest, RootFrame type, std::span<const std::byte> payload) {
  guest.stream.queue_frame(static_cast<uint16_t>(type), payload);
  // A few hundred bytes into an empty socket; a broken one is found by reading.
  (void)guest.stream.flush();
}

void RootServer::remove(int fd) {
  poller_.forget(fd);
  const auto found = guests_.find(fd);
  if (found->second.joined && !found->second.met) {
    by_rank_.erase(static_cast<int>(found->second.rank));
  }
  guests_.erase(found);
}

void RootServer::fail(const Status& status) {
  if (state_ == State::kFailed) return;
  RAILCCL_WARN(Subsys::kBootstrap, "bootstrap: the root at {}: {}", options_.address,
               status.message());
  end_meeting(status);
}

void RootServer::end_meeting(const Status& status) {
  if (state_ == State::kFailed) return;
  state_ = State::kFailed;
  failure_ = status;
  deadline_ = now_ + std::min(kLinger, options_.rank_timeout_ns);
  for (auto& [fd, guest] : guests_) tell(guest, RootFrame::kFailed, pack_failed(status));
}

std::string RootServer::missing() const {
  std::string text;
  size_t count = 0;
  for (const int rank : tree_->joining(root_)) {
    if (by_rank_.contains(rank) || ++count > kNamesInText) continue;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", rank);
  }
  if (count > kNamesInText) text += fmt::format(" and {} more", count - kNamesInText);
  return fmt::format("rank{} {}", count == 1 ? "" : "s", text);
}

void RootServer::check_times() {
  if (now_ < deadline_) return;
  if (state_ == State::kFailed) {
    state_ = State::kDone;
  } else if (state_ == State::kMeeting) {
    fail(error(Code::kTimeout,
               "{} did not come: waited {:.1f} s after the first, {} of {} are here. Look why it "
               "did not start or cannot reach {}; RAILCCL_RANK_TIMEOUT_S sets how long to wait",
               missing(), in_seconds(now_ - first_came_), by_rank_.size(), expected_,
               options_.address));
  } else if (state_ == State::kAllHere) {
    fail(error(Code::kTimeout, "all ranks came, but {} of {} did not get through in {:.1f} s more",
               expected_ - met_, expected_, in_seconds(options_.rank_timeout_ns)));
  }
}

Status start_root(const RootOptions& options, UniqueFd listener) {
  RAILCCL_ASSIGN(std::unique_ptr<RootServer> root,
                 RootServer::create(options, std::move(listener)));
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Status status;
  try {
    // Taken here: a first use in the thread could be caught half done by a fork().
    const Clock& clock = system_clock();
    std::thread([root = std::move(root), &clock] {
      pthread_setname_np(pthread_self(), "railccl-root");
      while (root->step(clock, wait_ms_until(root->next_deadline(), clock.now_ns()))) {
      }
    }).detach();
  } catch (const std::system_error& problem) {
    status = error(Code::kSystemError, "no thread for the bootstrap root: {}", problem.what());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

}  // namespace railccl::boot
