// A TCP stream cut into frames, with bounded buffers. Before the handshake is through, bytes are
// taken raw; after it, as frames:
//
//   0        4      6      8
//   +--------+------+------+-------------------+
//   | length | type |  0   | length bytes      |     little endian, length <= kMaxFrameBytes
//   +--------+------+------+-------------------+
//
// One owner at a time; never blocks; a forked child has no part in it. What is read stays inside
// until it is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "src/base/status.h"
#include "src/base/unique_fd.h"
#include "src/core/fork_guard.h"

namespace railccl::boot {

constexpr size_t kFrameHeaderBytes = 8;
constexpr size_t kMaxFrameBytes = 66 * 1024;  // a whole control message, or many small records

struct Frame {
  uint16_t type = 0;
  std::span<const std::byte> payload;  // valid until the next read_some
};

void append_frame(std::vector<std::byte>& to, uint16_t type, std::span<const std::byte> payload);

class FrameStream {
 public:
  explicit FrameStream(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }

  // One read. False: nothing is there now. An error when the other side closed or reset the
  // connection; what came before can still be taken.
  Result<bool> read_some();
  // The next `bytes` bytes, or null while they are not all here. Valid until the next read_some.
  const std::byte* take_raw(size_t bytes);
  // The next frame, or nothing while it is not whole. An error for a frame that is too long or
  // malformed; the connection is of no use then.
  Result<std::optional<Frame>> next_frame();

  void queue_raw(std::span<const std::byte> bytes);
  void queue_frame(uint16_t type, std::span<const std::byte> payload);
  // Sends as much as the socket takes.
  Status flush();
  size_t queued_bytes() const { return out_.size() - out_begin_; }
  // The other host has acknowledged all of it: not even a reset takes it back.
  bool delivered() const;

 private:
  void make_room();

  GuardedFd fd_;
  std::vector<std::byte> in_;
  size_t in_begin_ = 0;
  size_t in_end_ = 0;
  std::vector<std::byte> out_;
  size_t out_begin_ = 0;
};

}  // namespace railccl::boot
