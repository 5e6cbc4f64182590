#include "transport/tcp/send_lane.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

namespace railccl::tcp {
namespace {

constexpr size_t kMaxPieces = 128;
constexpr size_t kMostCollectedBytes = 1024;

}  // namespace

// One system call's worth, in this order: the rest of the frame that was cut, an acknowledgement,
// whole puts.
struct SendLane::Batch {
  std::array<iovec, kMaxPieces> pieces;
  size_t count = 0;
  size_t bytes = 0;
  bool has_new_ack = false;

  void add(const void* data, size_t size) {
    pieces[count++] = iovec{const_cast<void*>(data), size};
    bytes += size;
  }
  // `offset` bytes of header and payload were sent before; at most `limit` bytes more.
  void add_put(const OutgoingPut& put, size_t offset, size_t limit) {
    if (offset < sizeof(PutHeader)) {
      add(reinterpret_cast<const std::byte*>(&put.header) + offset, sizeof(PutHeader) - offset);
      offset = sizeof(PutHeader);
    }
    const size_t done = offset - sizeof(PutHeader);
    const size_t left = std::min<size_t>(put.header.bytes - done, limit);
    if (left > 0) add(put.payload + done, left);
  }
  bool full() const { return count + 2 > kMaxPieces; }
  // As send(2) answers.
  ssize_t send(int fd);
};

// Little is sent as one piece: collecting it here is cheaper than in the kernel
// (docs/performance.md).
ssize_t SendLane::Batch::send(int fd) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  if (bytes <= kMostCollectedBytes) {
    std::array<std::byte, kMostCollectedBytes> collected;
    size_t filled = 0;
    for (const iovec& piece : std::span(pieces).first(count)) {
      std::memcpy(&collected[filled], piece.iov_base, piece.iov_len);
      filled += piece.iov_len;
    }
    return ::send(fd, collected.data(), filled, kFlags);
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  return sendmsg(fd, &message, kFlags);
}

bool SendLane::accepts(uint64_t bytes) const {
  if (puts_.size() >= limits_.max_outstanding_puts) return false;
  return queued_bytes_ == 0 || queued_bytes_ + bytes <= limits_.max_queued_bytes;
}

void SendLane::push(const OutgoingPut& put) {
  queued_bytes_ += put.header.bytes;
  puts_.push(put);
}

void SendLane::owe_acknowledgement(const AckFrame& ack) {
  next_ack_ = ack;
  ack_due_ = true;
}

void SendLane::gather(Batch& batch, size_t budget_bytes) const {
  size_t next = sent_;
  if (ack_offset_ > 0) {
    batch.add(reinterpret_cast<const std::byte*>(&ack_in_flight_) + ack_offset_,
              sizeof(AckFrame) - ack_offset_);
  } else if (put_offset_ > 0) {
    batch.add_put(puts_[next++], put_offset_, budget_bytes);
    const bool cut = batch.bytes >= budget_bytes;
    if (cut) return;
  }
  if (ack_due_ && ack_offset_ == 0) {
    batch.add(&next_ack_, sizeof next_ack_);
    batch.has_new_ack = true;
  }
  while (next < puts_.size() && !batch.full() && batch.bytes < budget_bytes) {
    batch.add_put(puts_[next++], 0, budget_bytes - batch.bytes);
  }
}

size_t SendLane::consume_ack(size_t bytes) {
  const size_t used = std::min(bytes, sizeof(AckFrame) - ack_offset_);
  ack_offset_ += used;
  if (ack_offset_ == sizeof(AckFrame)) ack_offset_ = 0;
  return bytes - used;
}

size_t SendLane::consume_put(size_t bytes) {
  const uint64_t payload = puts_[sent_].header.bytes;
  const size_t used = std::min<size_t>(bytes, sizeof(PutHeader) + payload - put_offset_);
  put_offset_ += used;
  if (put_offset_ == sizeof(PutHeader) + payload) {
    put_offset_ = 0;
    queued_bytes_ -= payload;
    ++sent_;
  }
  return bytes - used;
}

void SendLane::consume(const Batch& batch, size_t bytes) {
  if (ack_offset_ > 0) {
    bytes = consume_ack(bytes);
  } else if (put_offset_ > 0) {
    bytes = consume_put(bytes);
  }
  if (batch.has_new_ack && bytes > 0) {
    ack_in_flight_ = next_ack_;
    ack_due_ = false;
    bytes = consume_ack(bytes);
  }
  while (bytes > 0) bytes = consume_put(bytes);
}

Result<SendLane::Outcome> SendLane::flush(int fd, size_t budget_bytes) {
  while (has_work()) {
    if (budget_bytes == 0) return Outcome::kBudget;
    Batch batch;
    gather(batch, budget_bytes);
    const ssize_t sent = batch.send(fd);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return Outcome::kBlocked;
      return system_error(errno, "send");
    }
    consume(batch, static_cast<size_t>(sent));
    if (static_cast<size_t>(sent) < batch.bytes) return Outcome::kBlocked;
    budget_bytes -= std::min(budget_bytes, batch.bytes);
  }
  return Outcome::kDone;
}

bool SendLane::acknowledge(uint64_t placed) {
  if (placed < acknowledged_ || placed > completed_ + sent_) return false;
  acknowledged_ = placed;
  return true;
}

OutgoingPut SendLane::take_acknowledged() {
  ++completed_;
  --sent_;
  return puts_.pop();
}

OutgoingPut SendLane::take_outstanding() { return puts_.pop(); }

}  // namespace railccl::tcp
