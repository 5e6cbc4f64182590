#include "transport/tcp/tcp_lane.h"

#include <algorithm>

#include "transport/tcp/socket.h"

namespace railccl::tcp {

Status TcpLane::watch() {
  RAILCCL_TRY(core_.poller().add(fd_.get(), EPOLLIN, *this));
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
  if (watched_) core_.poller().remove(fd_.get());
  if (write_interest_) core_.poller().expect_room(false);
  core_.hot_lanes().forget(*this);
  watched_ = write_interest_ = false;
  reset_and_close(fd_);
}

Status TcpLane::set_write_interest(bool wanted) {
  if (write_interest_ == wanted) return Status::ok();
  write_interest_ = wanted;
  core_.poller().expect_room(wanted);
  return core_.poller().modify(fd_.get(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
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
  if ((ready & ~static_cast<uint32_t>(EPOLLOUT)) == 0 || !try_receive()) return;
  if (is_open()) core_.hot_lanes().heat(*this);
}

}  // namespace railccl::tcp
