#include "src/core/dialer.h"

#include <cerrno>
#include <cstring>

namespace railccl::boot {

Dialer::Dialer(const SocketAddress& address, const Key& key, const Hello& who, TimeNs deadline,
               Poller& poller)
    : address_(address), handshake_(key, who), deadline_(deadline), poller_(poller) {
  Socket connection = begin_connect(address);
  if (connection.problem != 0) {
    fail_with(connection.problem);
    return;
  }
  stream_.emplace(std::move(connection.fd));
  if (const Status watched = poller_.watch(stream_->fd(), true); !watched) {
    fail(State::kFailed, watched.message());
  }
}

Dialer::~Dialer() {
  if (stream_) poller_.forget(stream_->fd());
}

void Dialer::fail(State state, std::string_view reason) {
  state_ = state;
  status_ = error(state == State::kRefused ? Code::kPeerFailed : Code::kSystemError, "{}: {}",
                  address_.text(), reason);
  if (stream_) poller_.forget(stream_->fd());
  stream_.reset();
}

void Dialer::fail_with(int problem) {
  fail(problem == ECONNREFUSED ? State::kRefused : State::kFailed, std::strerror(problem));
}

Dialer::State Dialer::step(TimeNs now) {
  if (state_ != State::kPending) return state_;
  if (!connected_) {
    const int result = connect_result(stream_->fd());
    if (result == 0) {
      connected_ = true;
      handshake_.start(*stream_);
      if (!poller_.watch(stream_->fd(), false)) fail(State::kFailed, "epoll refuses it");
    } else if (result != EINPROGRESS) {
      fail_with(result);
    }
  }
  if (connected_ && state_ == State::kPending) shake_hands();
  if (state_ == State::kPending && now >= deadline_) {
    fail(State::kFailed, connected_ ? "it takes connections but does not answer" : "no answer");
  }
  return state_;
}

void Dialer::shake_hands() {
  const Result<bool> read = stream_->read_some();
  const auto verdict = handshake_.step(*stream_);
  const Status sent = stream_->flush();
  if (!verdict) return fail(State::kFailed, verdict.error().message());
  if (*verdict) {
    if (**verdict == Verdict::kAccepted) {
      state_ = State::kConnected;
      poller_.forget(stream_->fd());
      return;
    }
    return fail(**verdict == Verdict::kYield ? State::kYield : State::kFailed,
                "it serves another rank, number of ranks or purpose");
  }
  if (!read || !sent) {
    fail(State::kFailed,
         handshake_.proof_sent()
             ? "it closed the connection after our proof: it has another key, or is overloaded"
             : "it closed the connection during the handshake");
  }
}

FrameStream Dialer::take_stream() {
  FrameStream stream = std::move(*stream_);
  stream_.reset();
  return stream;
}

}  // namespace railccl::boot
