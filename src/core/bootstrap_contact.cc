#include "src/core/bootstrap_contact.h"

#include <algorithm>

namespace railccl::boot {
namespace {

// Attempts: the first ones in quick succession, as ranks start at about the same time as the root.
constexpr TimeNs kFirstPause = 10 * kMillisecond;
constexpr TimeNs kPauseAtFirst = 100 * kMillisecond;  // at most, for the first seconds
constexpr TimeNs kPauseLater = kSecond;               // at most
constexpr TimeNs kAtFirst = 10 * kSecond;
// On a wrong port something else may take the connection and say nothing: go on soon, but wait
// longer each round, as the right one may be slow.
constexpr TimeNs kFirstAnswerTime = kSecond;
constexpr TimeNs kLongestAnswerTime = 8 * kSecond;

TimeNs doubled(TimeNs first, int times, TimeNs most) {
  return std::min(first << std::min(times, 16), most);
}

}  // namespace

RootContact::RootContact(const UniqueId& id, const Hello& who, int family, Poller& poller)
    : id_(id), key_(root_key(id)), who_(who), family_(family), poller_(poller) {
  who_.to = kToRoot;
}

RootContact::~RootContact() {
  if (stream_) poller_.forget(stream_->fd());
}

Status RootContact::progress(TimeNs now) {
  if (began_ == 0) began_ = now;
  if (stream_) return receive();
  if (!dialer_ && now >= retry_at_) dial(now);
  if (!dialer_) return Status::ok();
  const Dialer::State state = dialer_->step(now);
  if (state == Dialer::State::kPending) return Status::ok();
  if (state != Dialer::State::kConnected) {
    after_attempt(now);
    return Status::ok();
  }
  stream_.emplace(dialer_->take_stream());
  dialer_.reset();
  RAILCCL_TRY(poller_.watch(stream_->fd(), false));
  return receive();
}

void RootContact::find_candidates() {
  const auto addresses = resolve({.host = id_.host, .port = id_.port}, family_);
  if (!addresses) {
    last_problem_ = addresses.error().message();
    return;
  }
  for (int i = 0; i < id_.ports; ++i) {
    for (const SocketAddress& address : *addresses) {
      untried_.push_back(address.with_port(static_cast<uint16_t>(id_.port + i)));
    }
  }
}

void RootContact::dial(TimeNs now) {
  if (untried_.empty()) find_candidates();
  if (untried_.empty()) return after_attempt(now);
  const TimeNs answer_time = doubled(kFirstAnswerTime, rounds_, kLongestAnswerTime);
  const SocketAddress address = untried_.front();
  untried_.pop_front();
  dialer_ = std::make_unique<Dialer>(address, key_, who_, now + answer_time, poller_);
}

void RootContact::after_attempt(TimeNs now) {
  if (dialer_) last_problem_ = dialer_->status().message();
  dialer_.reset();
  retry_at_ = now;
  if (!untried_.empty()) return;
  const TimeNs most = now - began_ < kAtFirst ? kPauseAtFirst : kPauseLater;
  retry_at_ += doubled(kFirstPause, rounds_++, most);
}

Status RootContact::receive() {
  const Result<bool> read = stream_->read_some();
  (void)stream_->flush();
  for (;;) {
    RAILCCL_ASSIGN(const std::optional<Frame> frame, stream_->next_frame());
    if (!frame) break;
    if (frame->type == static_cast<uint16_t>(RootFrame::kParent)) {
      RAILCCL_ASSIGN(parent_, unpack_parent(frame->payload));
    } else if (frame->type == static_cast<uint16_t>(RootFrame::kFailed)) {
      return unpack_failed(frame->payload);
    } else {
      return error(Code::kPeerFailed, "the root at {} sent a malformed frame", address_text(id_));
    }
  }
  if (read) return Status::ok();
  return error(Code::kPeerFailed,
               "the root at {} is gone ({}): the process that made the unique id has ended while "
               "the ranks were meeting",
               address_text(id_), read.error().message());
}

SocketAddress RootContact::local_address() const { return boot::local_address(stream_->fd()); }

void RootContact::join(const JoinRecord& record) { tell(RootFrame::kJoin, pack(record)); }

std::optional<SocketAddress> RootContact::take_parent() {
  return std::exchange(parent_, std::nullopt);
}

void RootContact::tell(RootFrame type, std::span<const std::byte> payload) {
  if (!stream_) return;
  stream_->queue_frame(static_cast<uint16_t>(type), payload);
  (void)stream_->flush();  // a broken connection is found by reading
}

TimeNs RootContact::next_deadline() const {
  if (stream_) return kNever;
  return dialer_ ? dialer_->deadline() : retry_at_;
}

std::string RootContact::problem() const {
  return fmt::format("the root at {} cannot be reached: {}", address_text(id_),
                     last_problem_.empty() ? "no answer" : last_problem_);
}

}  // namespace railccl::boot
