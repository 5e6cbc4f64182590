#include "transport/tcp/tcp_lane.h"

#include <algorithm>

#include "transport/tcp/socket.h"

namespace railccl::tcp {

Status TcpLane::watch() {
  RAILCCL_TRY(poller_.add(fd_.get(), EPOLLIN, *this));
  watched_ = true;
  return Status::ok();
}

void TcpLane::say_farewell(std::string_view reason) {
  if (!is_open() || blocked_ || !send_.at_frame_end()) return;
  FarewellFrame frame;
  frame.text_bytes = static_cast<uint32_t>(std::min(reason.size(), frame.text.size()));
  std::copy_n(reason.begin(), frame.text_bytes, frame.text.begin());
  // Without it the peer learns only that the connection ended.
  [[maybe_unused]] const Status sent = send_at_once(fd_.get(), &frame, sizeof frame);
}

void TcpLane::close() {
  if (watched_) poller_.remove(fd_.get());
  watched_ = false;
  reset_and_close(fd_);
}

Status TcpLane::set_write_interest(bool wanted) {
  if (write_interest_ == wanted) return Status::ok();
  write_interest_ = wanted;
  return poller_.modify(fd_.get(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
}

Result<bool> TcpLane::flush(size_t budget_bytes) {
  RAILCCL_ASSIGN(const SendLane::Outcome outcome, send_.flush(fd_.get(), budget_bytes));
  blocked_ = outcome == SendLane::Outcome::kBlocked;
  if (blocked_) RAILCCL_TRY(set_write_interest(true));
  return outcome == SendLane::Outcome::kBudget;
}

Result<ReceiveLane::Outcome> TcpLane::receive(std::span<std::byte> staging, size_t budget_bytes) {
  return receive_.receive(fd_.get(), staging, budget_bytes, host_);
}

void TcpLane::on_ready(uint32_t ready) {
  if (!is_open()) return;  // closed by an event that was raised since the poll
  if ((ready & EPOLLOUT) != 0) {
    blocked_ = false;
    // Interest is dropped only now that nothing waits: a steady stream never changes it.
    if (send_.has_work()) {
      host_.on_lane_writable(id_);
    } else if (!set_write_interest(false)) {
      ready |= EPOLLERR;  // receive() tells why the socket is unusable
    }
  }
  if (is_open() && (ready & ~static_cast<uint32_t>(EPOLLOUT)) != 0) host_.on_lane_readable(id_);
}

}  // namespace railccl::tcp
