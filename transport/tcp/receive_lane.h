// The receiving half of one socket of an endpoint: cuts the stream into frames and places payloads
// where they belong, straight from the socket. Owned by the endpoint; the rail's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/status.h"
#include "transport/memory_table.h"
#include "transport/tcp/wire.h"

namespace railccl::tcp {

// What a ReceiveLane asks and tells its endpoint.
class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  // Where the payload goes (null when there is none), or why the put is refused.
  virtual Result<MemoryTable::Place> locate_put(const PutHeader& header) = 0;
  // All bytes of the put are here: in place or, by view, at `data` during the call.
  virtual void on_put_here(LaneId lane, const PutHeader& header, const std::byte* data) = 0;
  virtual Status on_acknowledgement(const AckFrame& ack) = 0;
  // The peer ends the connection; the error to end it with here.
  virtual Status on_farewell(const FarewellFrame& farewell) = 0;
  // False from the moment on when nothing more may be placed.
  virtual bool receiving() const = 0;
};

class ReceiveLane {
 public:
  enum class Outcome : uint8_t {
    kNothing,  // the socket had nothing
    kDrained,  // the socket has no more for now
    kBudget,   // there may be more; others first
    kStopped,  // the handler is not receiving any more
  };

  explicit ReceiveLane(LaneId lane) : lane_(lane) {}

  // `staging` is scratch for this call, at least as large as the lane's largest header; a larger
  // one saves system calls for small frames and costs a copy of what lands in it. An error ends the
  // connection: a refused put, bytes that are no frame, the peer's end, the socket's error.
  Result<Outcome> receive(int fd, std::span<std::byte> staging, size_t budget_bytes,
                          FrameHandler& handler);

  // Whether a put into this registration has begun and is not whole.
  bool is_placing_into(uint64_t key) const { return payload_left_ > 0 && header_.key == key; }

 private:
  Status parse(std::span<const std::byte> bytes, FrameHandler& handler);
  Status handle_header(uint32_t magic, std::span<const std::byte> bytes, FrameHandler& handler);
  void advance_payload(size_t bytes, FrameHandler& handler);
  // All of the put, of which nothing has been placed, is among these bytes and need not be.
  bool can_show(size_t bytes) const {
    return place_.by_view && payload_left_ > 0 && payload_left_ == header_.bytes &&
           payload_left_ <= bytes && (header_.flags & kNotifyFlag) != 0;
  }

  LaneId lane_;
  PutHeader header_;                 // of the put being received, while payload_left_ > 0
  MemoryTable::Place place_;         // of it
  std::byte* payload_to_ = nullptr;  // where its next byte goes
  uint64_t payload_left_ = 0;
  std::array<std::byte, kMaxHeaderBytes> partial_;  // the beginning of a header
  size_t partial_bytes_ = 0;
};

}  // namespace railccl::tcp
