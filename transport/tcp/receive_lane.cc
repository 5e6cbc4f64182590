#include "transport/tcp/receive_lane.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace railccl::tcp {
namespace {

constexpr size_t kMagicBytes = sizeof(uint32_t);

// Bytes of the header that begins with `magic`; 0: none of ours may begin so on this lane.
size_t header_bytes(uint32_t magic, LaneId lane) {
  if (magic == kPutMagic) return sizeof(PutHeader);
  if (lane == LaneId::kBulk) return 0;
  if (magic == kAckMagic) return sizeof(AckFrame);
  return magic == kFarewellMagic ? sizeof(FarewellFrame) : 0;
}

// The kernel need not copy a list of pieces where there is one.
ssize_t receive_into(int fd, std::span<iovec> pieces) {
  if (pieces.size() == 1) return recv(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_DONTWAIT);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return recvmsg(fd, &message, MSG_DONTWAIT);
}

Error ended_by_peer() { return error(Code::kPeerFailed, "the peer closed the connection"); }

}  // namespace

Result<ReceiveLane::Outcome> ReceiveLane::receive(int fd, std::span<std::byte> staging,
                                                  size_t budget_bytes, FrameHandler& handler) {
  Outcome when_empty = Outcome::kNothing;
  while (budget_bytes > 0) {
    // The rest of a payload goes to its place; what follows it begins a header, in staging behind
    // the part of the header that is there already.
    const size_t direct = static_cast<size_t>(std::min<uint64_t>(payload_left_, budget_bytes));
    const bool whole = direct == payload_left_;
    std::array<iovec, 2> pieces;
    size_t count = 0;
    if (direct > 0) pieces[count++] = iovec{payload_to_, direct};
    std::memcpy(staging.data(), partial_.data(), partial_bytes_);
    const size_t room = whole ? staging.size() - partial_bytes_ : 0;
    if (room > 0) pieces[count++] = iovec{staging.data() + partial_bytes_, room};
    const ssize_t received = receive_into(fd, std::span(pieces).first(count));
    if (received == 0) return ended_by_peer();
    if (received < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return when_empty;
      return system_error(errno, "receive");
    }
    when_empty = Outcome::kDrained;
    const size_t bytes = static_cast<size_t>(received);
    advance_payload(std::min(bytes, direct), handler);
    if (bytes > direct) {
      const size_t staged = partial_bytes_ + bytes - direct;
      partial_bytes_ = 0;
      RAILCCL_TRY(parse(staging.first(staged), handler));
    }
    if (!handler.receiving()) return Outcome::kStopped;
    if (bytes < direct + room) return Outcome::kDrained;
    budget_bytes -= std::min(budget_bytes, bytes);
  }
  return Outcome::kBudget;
}

void ReceiveLane::advance_payload(size_t bytes, FrameHandler& handler) {
  if (bytes == 0) return;
  payload_to_ += bytes;
  payload_left_ -= bytes;
  if (payload_left_ == 0) handler.on_put_here(lane_, header_, place_.address);
}

Status ReceiveLane::handle_header(uint32_t magic, std::span<const std::byte> bytes,
                                  FrameHandler& handler) {
  if (magic == kAckMagic) {
    AckFrame ack;
    std::memcpy(&ack, bytes.data(), sizeof ack);
    return handler.on_acknowledgement(ack);
  }
  if (magic == kFarewellMagic) {
    FarewellFrame farewell;
    std::memcpy(&farewell, bytes.data(), sizeof farewell);
    return handler.on_farewell(farewell);
  }
  std::memcpy(&header_, bytes.data(), sizeof header_);
  RAILCCL_ASSIGN(place_, handler.locate_put(header_));
  payload_to_ = place_.address;
  payload_left_ = header_.bytes;
  if (payload_left_ == 0) handler.on_put_here(lane_, header_, nullptr);
  return Status::ok();
}

Status ReceiveLane::parse(std::span<const std::byte> bytes, FrameHandler& handler) {
  while (!bytes.empty() && handler.receiving()) {
    if (can_show(bytes.size())) {
      const auto shown = bytes.first(std::exchange(payload_left_, 0));
      bytes = bytes.subspan(shown.size());
      handler.on_put_here(lane_, header_, shown.data());
      continue;
    }
    if (payload_left_ > 0) {
      const size_t part = static_cast<size_t>(std::min<uint64_t>(payload_left_, bytes.size()));
      std::memcpy(payload_to_, bytes.data(), part);
      bytes = bytes.subspan(part);
      advance_payload(part, handler);
      continue;
    }
    uint32_t magic = 0;
    std::memcpy(&magic, bytes.data(), std::min(bytes.size(), kMagicBytes));
    const size_t needed = bytes.size() < kMagicBytes ? kMagicBytes : header_bytes(magic, lane_);
    if (needed == 0) {
      return error(Code::kRailFailed, "received bytes that begin no frame ({:#010x})", magic);
    }
    if (bytes.size() < needed) {
      std::memcpy(partial_.data(), bytes.data(), bytes.size());
      partial_bytes_ = bytes.size();
      return Status::ok();
    }
    RAILCCL_TRY(handle_header(magic, bytes, handler));
    bytes = bytes.subspan(needed);
  }
  return Status::ok();
}

}  // namespace railccl::tcp
