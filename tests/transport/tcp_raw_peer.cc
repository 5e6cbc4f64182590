#include "tests/transport/tcp_raw_peer.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace railccl::testing_support {

RailUnderTest::RailUnderTest(const TcpRailOptions& options, const std::string& ip)
    : rail_(open_or_fail(loopback_config(ip), options)) {
  auto opened = rail_->open_endpoint(kTag);
  EXPECT_TRUE(opened);
  endpoint_ = std::move(*opened);
}

bool RailUnderTest::progress() {
  now_ += kMillisecond;
  return sink_.progress(*rail_, now_);
}

bool RailUnderTest::progress_until(const std::function<bool()>& done) {
  const TimeNs deadline = system_clock().now_ns() + 60 * kSecond;
  while (!done()) {
    if (system_clock().now_ns() >= deadline) return false;
    if (!progress() && !done()) wait_for_rails({rail_.get()}, 2);
  }
  return true;
}

void RailUnderTest::settle(int rounds) {
  for (int i = 0; i < rounds; ++i) {
    progress();
    wait_for_rails({rail_.get()}, 2);
  }
}

tcp::AddressBlob read_blob(const std::vector<std::byte>& address) {
  tcp::AddressBlob blob;
  EXPECT_EQ(address.size(), sizeof blob);
  std::memcpy(&blob, address.data(), sizeof blob);
  return blob;
}

std::vector<std::byte> to_bytes(const tcp::AddressBlob& blob) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&blob);
  return {bytes, bytes + sizeof blob};
}

UniqueFd dial_raw(const tcp::AddressBlob& target) {
  const int family = target.ip_version == 6 ? AF_INET6 : AF_INET;
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t size =
      net::make_socket_address(family, target.ip, target.port).to_sockaddr(storage);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
  return fd;
}

void send_all(int fd, const void* data, size_t size) {
  const auto* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
    if (sent <= 0) return;  // the rail has hung up: what the test looks for shows elsewhere
    from += sent;
    size -= static_cast<size_t>(sent);
  }
}

size_t read_available(int fd, void* buffer, size_t size) {
  const ssize_t bytes = recv(fd, buffer, size, MSG_DONTWAIT);
  return bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

bool is_closed_by_peer(int fd) {
  char scratch[4096];
  for (;;) {
    const ssize_t bytes = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (bytes == 0) return true;
    if (bytes < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
  }
}

RawPeer::RawPeer(RailUnderTest& rail)
    : secret(tcp::random_secret()), rail_(rail), target_(read_blob(rail.endpoint().address())) {}

std::vector<std::byte> RawPeer::address() const {
  tcp::AddressBlob blob = target_;
  blob.endpoint_id = kId;
  blob.secret = secret;
  return to_bytes(blob);
}

bool RawPeer::open_lane(tcp::LaneId lane) {
  UniqueFd fd = dial_raw(target_);
  const tcp::Hello hello{.lane = static_cast<uint8_t>(lane),
                         .acceptor_id = target_.endpoint_id,
                         .dialer_id = kId,
                         .nonce = tcp::random_nonce()};
  send_struct(fd.get(), hello);
  tcp::Challenge challenge;
  size_t have = 0;
  const bool answered = rail_.progress_until([&] {
    have += read_available(fd.get(), reinterpret_cast<char*>(&challenge) + have,
                           sizeof challenge - have);
    return have == sizeof challenge || is_closed_by_peer(fd.get());
  });
  if (!answered || have != sizeof challenge) return false;
  const tcp::SessionKey key =
      tcp::session_key({.endpoint_id = kId, .secret = secret},
                       {.endpoint_id = target_.endpoint_id, .secret = target_.secret});
  EXPECT_EQ(challenge.mac, tcp::acceptor_mac(key, hello, challenge.nonce));
  send_struct(fd.get(), tcp::Proof{.mac = tcp::dialer_mac(key, hello, challenge.nonce)});
  lanes_[tcp::lane_index(lane)] = std::move(fd);
  return true;
}

void RawPeer::connect() {
  const Status status = rail_.endpoint().connect(address());
  ASSERT_TRUE(status) << status.message();
  ASSERT_TRUE(open_lane(tcp::LaneId::kSmall));
  ASSERT_TRUE(open_lane(tcp::LaneId::kBulk));
  ASSERT_TRUE(
      rail_.progress_until([&] { return rail_.sink().count(RailEvent::Kind::kConnected) == 1; }));
}

}  // namespace railccl::testing_support
