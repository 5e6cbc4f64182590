// A peer of a TCP rail that is made by hand, byte by byte, so that tests can say what no rail would
// say. It dials (its endpoint id is the smallest), on the test's thread: it progresses the rail
// under test while it waits.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "src/base/unique_fd.h"
#include "tests/transport/tcp_pair.h"
#include "transport/tcp/handshake.h"

namespace railccl::testing_support {

// The rail under test with one endpoint. Its time is the test's: a millisecond for each call of
// progress, however long that took.
class RailUnderTest {
 public:
  explicit RailUnderTest(const TcpRailOptions& options, const std::string& ip = "127.0.0.1");

  Rail& rail() { return *rail_; }
  Endpoint& endpoint() { return *endpoint_; }
  RecordingSink& sink() { return sink_; }
  bool progress();
  // Until `done`; false after a real minute.
  bool progress_until(const std::function<bool()>& done);
  // Whatever happens in `rounds` calls of progress with short waits between.
  void settle(int rounds = 20);
  void advance(TimeNs by) { now_ += by; }

 private:
  std::unique_ptr<Rail> rail_;
  RecordingSink sink_;
  std::unique_ptr<Endpoint> endpoint_;
  TimeNs now_ = kSecond;
};

// A connected blocking socket to where the address blob says.
UniqueFd dial_raw(const tcp::AddressBlob& target);
tcp::AddressBlob read_blob(const std::vector<std::byte>& address);
std::vector<std::byte> to_bytes(const tcp::AddressBlob& blob);
void send_all(int fd, const void* data, size_t size);
template <typename T>
void send_struct(int fd, const T& value) {
  send_all(fd, &value, sizeof value);
}
// True when the other side has closed or reset the connection; reads away what came before.
bool is_closed_by_peer(int fd);
// Bytes that can be read now, at most `size`.
size_t read_available(int fd, void* buffer, size_t size);

class RawPeer {
 public:
  static constexpr uint64_t kId = 1;

  explicit RawPeer(RailUnderTest& rail);
  // What the endpoint under test is told of this peer.
  std::vector<std::byte> address() const;
  // Proves itself on one lane; false: the rail did not let it.
  bool open_lane(tcp::LaneId lane);
  // Both sides connected.
  void connect();
  int fd(tcp::LaneId lane) const { return lanes_[tcp::lane_index(lane)].get(); }
  void close(tcp::LaneId lane) { lanes_[tcp::lane_index(lane)].reset(); }
  tcp::Secret secret{};

 private:
  RailUnderTest& rail_;
  const tcp::AddressBlob target_;
  std::array<UniqueFd, tcp::kLanes> lanes_;
};

}  // namespace railccl::testing_support
