#include "src/core/framing.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "transport/byte_io.h"

namespace railccl::boot {
namespace {

constexpr size_t kFirstBuffer = 2048;
constexpr size_t kLargestBuffer = kFrameHeaderBytes + kMaxFrameBytes;

}  // namespace

void append_frame(std::vector<std::byte>& to, uint16_t type, std::span<const std::byte> payload) {
  const auto length = static_cast<uint32_t>(payload.size());
  const size_t begin = to.size();
  to.resize(begin + kFrameHeaderBytes + payload.size());  // the last two bytes of the header stay 0
  std::memcpy(to.data() + begin, &length, sizeof length);
  std::memcpy(to.data() + begin + sizeof length, &type, sizeof type);
  std::copy(payload.begin(), payload.end(),
            to.begin() + static_cast<ptrdiff_t>(begin + kFrameHeaderBytes));
}

void FrameStream::make_room() {
  if (in_begin_ > 0) {
    std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  if (in_end_ == in_.size()) {
    in_.resize(std::clamp(in_.size() * 2, kFirstBuffer, kLargestBuffer));
  }
}

bool FrameStream::delivered() const {
  if (queued_bytes() > 0) return false;
  int unacknowledged = 0;
  return ioctl(fd_.get(), SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0;
}

Result<bool> FrameStream::read_some() {
  make_room();
  if (in_end_ == in_.size()) return false;  // the owner has not taken what is here
  const ssize_t got = ::recv(fd_.get(), in_.data() + in_end_, in_.size() - in_end_, 0);
  if (got > 0) {
    in_end_ += static_cast<size_t>(got);
    return true;
  }
  if (got == 0) return error(Code::kPeerFailed, "the connection was closed");
  if (errno == EAGAIN || errno == EINTR) return false;
  return system_error(errno, "the connection broke");
}

const std::byte* FrameStream::take_raw(size_t bytes) {
  if (in_end_ - in_begin_ < bytes) return nullptr;
  const std::byte* result = in_.data() + in_begin_;
  in_begin_ += bytes;
  return result;
}

Result<std::optional<Frame>> FrameStream::next_frame() {
  const size_t available = in_end_ - in_begin_;
  if (available < kFrameHeaderBytes) return std::nullopt;
  wire::ByteReader header({in_.data() + in_begin_, kFrameHeaderBytes});
  const auto length = header.read<uint32_t>();
  const auto type = header.read<uint16_t>();
  const auto zero = header.read<uint16_t>();
  if (length > kMaxFrameBytes || zero != 0) {
    return error(Code::kPeerFailed, "malformed frame (type {}, length {})", type, length);
  }
  if (available < kFrameHeaderBytes + length) return std::nullopt;
  const std::byte* payload = take_raw(kFrameHeaderBytes + length) + kFrameHeaderBytes;
  return Frame{.type = type, .payload = {payload, length}};
}

void FrameStream::queue_raw(std::span<const std::byte> bytes) {
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void FrameStream::queue_frame(uint16_t type, std::span<const std::byte> payload) {
  append_frame(out_, type, payload);
}

Status FrameStream::flush() {
  while (out_begin_ < out_.size()) {
    const ssize_t sent =
        ::send(fd_.get(), out_.data() + out_begin_, out_.size() - out_begin_, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return system_error(errno, "the connection broke");
    }
    out_begin_ += static_cast<size_t>(sent);
  }
  if (out_begin_ == out_.size()) {
    out_.clear();
    out_begin_ = 0;
  } else if (out_begin_ > out_.size() / 2) {
    out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(out_begin_));
    out_begin_ = 0;
  }
  return Status::ok();
}

}  // namespace railccl::boot
