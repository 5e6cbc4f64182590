// Fuzz target: the stream of a TCP rail's sockets, and the first bytes of its handshake.
#include <cstring>
#include <vector>

#include "tests/fuzz/sockets.h"
#include "transport/tcp/handshake.h"
#include "transport/tcp/receive_lane.h"

namespace railccl::fuzz {
namespace {

using namespace railccl::tcp;

constexpr uint64_t kFrameKey = 7;

// Memory of one registration; a put outside of it must not be begun.
class Handler final : public FrameHandler {
 public:
  Handler() : memory_(4096), last_(4096) {}
  Result<MemoryTable::Place> locate_put(const PutHeader& header) override {
    if (header.bytes == 0) return MemoryTable::Place{};
    if (header.key != kFrameKey || header.offset > memory_.size() ||
        header.bytes > memory_.size() - header.offset) {
      return error(Code::kRailFailed, "refused");
    }
    return MemoryTable::Place{.address = memory_.data() + header.offset,
                              .by_view = header.offset % 2 == 1};
  }
  void on_put_here(LaneId, const PutHeader& header, const std::byte* data) override {
    require((data == nullptr) == (header.bytes == 0), "a put without its bytes");
    if (data != nullptr) std::memcpy(last_.data(), data, header.bytes);  // all of them can be read
    ++placed_;
  }
  Status on_acknowledgement(const AckFrame& ack) override {
    return ack.placed[0] > 1000 ? Status(Code::kRailFailed, "too many") : Status::ok();
  }
  Status on_farewell(const FarewellFrame& farewell) override {
    require(farewell.magic == kFarewellMagic, "a farewell with another beginning");
    return {Code::kRailFailed, "farewell"};
  }
  bool receiving() const override { return placed_ < 100; }

 private:
  std::vector<std::byte> memory_;
  std::vector<std::byte> last_;
  int placed_ = 0;
};

}  // namespace

void tcp_frames(Bytes input) {
  if (input.empty()) return;
  const auto lane = static_cast<LaneId>(std::to_integer<uint8_t>(input[0]) & 1);
  const size_t staging_bytes = kMaxHeaderBytes + (std::to_integer<size_t>(input[0]) >> 1) * 8;
  const Bytes stream = input.subspan(1);
  Hello hello;
  std::memcpy(&hello, stream.data(), std::min(stream.size(), sizeof hello));
  (void)well_formed(hello);
  SocketPair sockets = sockets_with(stream);
  std::vector<std::byte> staging(staging_bytes);
  ReceiveLane receiver(lane);
  Handler handler;
  for (int round = 0; round < 10'000; ++round) {
    const auto outcome = receiver.receive(sockets.here.get(), staging, 512, handler);
    if (!outcome || *outcome != ReceiveLane::Outcome::kBudget) return;
  }
  require(false, "the stream does not end");
}

}  // namespace railccl::fuzz
