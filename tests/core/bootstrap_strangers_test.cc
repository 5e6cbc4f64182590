// Connections of those who do not belong: garbage, fragments, wrong keys, silence, floods. They are
// dropped, logged once, and the ranks lose nothing.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

#include "src/base/log.h"
#include "src/core/control_path_tcp.h"
#include "src/core/dialer.h"
#include "src/core/doorkeeper.h"
#include "src/core/net_address.h"
#include "src/core/unique_id.h"
#include "tests/core/bootstrap_world.h"

namespace railccl::test {
namespace {

using boot::SocketAddress;
using ::testing::HasSubstr;

SocketAddress loopback(uint16_t port) {
  return boot::resolve({.host = "127.0.0.1", .port = port}, AF_INET)->front();
}
SocketAddress root_address(const UniqueIdBytes& id) {
  return loopback(boot::unpack_unique_id(id)->port);
}

UniqueFd connect_to(const SocketAddress& address) {
  boot::Socket socket = boot::begin_connect(address);
  EXPECT_EQ(socket.problem, 0);
  pollfd ready{socket.fd.get(), POLLOUT, 0};
  ::poll(&ready, 1, static_cast<int>(kPatience / kMillisecond));
  return std::move(socket.fd);
}

void say(const UniqueFd& fd, std::span<const std::byte> bytes) {
  (void)::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

// The other side closes; false when it does not.
bool is_dropped(const UniqueFd& fd) {
  for (;;) {
    pollfd ready{fd.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(kPatience / kMillisecond)) <= 0) return false;
    char bytes[256];
    const ssize_t got = ::recv(fd.get(), bytes, sizeof bytes, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return true;
  }
}

std::vector<std::byte> hello_bytes(boot::Purpose purpose, uint32_t to) {
  const boot::Hello hello{.purpose = purpose, .from = 1, .to = to, .ranks = 4};
  const auto bytes = std::as_bytes(std::span<const boot::Hello, 1>(&hello, 1));
  return {bytes.begin(), bytes.end()};
}

// Everything that is no handshake. Those in the first part must be dropped by themselves; the
// others may sit there until the time for the handshake is over.
struct Attacks {
  std::vector<std::vector<std::byte>> wrong;
  std::vector<std::vector<std::byte>> unfinished;
};
Attacks attacks(uint32_t to) {
  std::mt19937 random(4);
  Attacks all;
  all.wrong.push_back(
      bytes_of("GET / HTTP/1.1\r\nHost: somewhere.example.com\r\nAccept: */*\r\n\r\n"));
  for (const size_t bytes : {size_t{56}, size_t{100}, size_t{5000}, size_t{100000}}) {
    std::vector<std::byte> garbage(bytes);
    for (std::byte& byte : garbage) byte = static_cast<std::byte>(random());
    all.wrong.push_back(garbage);
  }
  const std::vector<std::byte> hello = hello_bytes(boot::Purpose::kJoin, to);
  std::vector<std::byte> with_proof = hello;
  with_proof.resize(hello.size() + 32, std::byte{7});
  all.wrong.push_back(with_proof);
  std::vector<std::byte> other_version = hello;
  other_version[4] = std::byte{77};
  all.wrong.push_back(other_version);
  all.unfinished.push_back({});
  all.unfinished.push_back({hello.begin(), hello.begin() + 1});
  all.unfinished.push_back({hello.begin(), hello.end() - 1});
  all.unfinished.push_back(hello);
  return all;
}

// Counts lines; the thread that writes them is not the test's.
class CountedLog {
 public:
  CountedLog()
      : capture_(LogLevel::kWarn, kAllSubsystems, [this](LogLevel, std::string_view line) {
          const std::lock_guard lock(mutex_);
          lines_.emplace_back(line);
        }) {}
  size_t count(std::string_view part) {
    const std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(
        lines_.begin(), lines_.end(),
        [&](const std::string& line) { return line.find(part) != std::string::npos; }));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
  LogCapture capture_;
};

TEST(Strangers, AtTheRootAreDroppedAndLoggedOnceAndTheRanksMeet) {
  CountedLog log;
  const UniqueIdBytes id = loopback_id();
  const Attacks all = attacks(boot::kToRoot);
  std::vector<UniqueFd> open;
  for (const auto& attack : all.wrong) {
    open.push_back(connect_to(root_address(id)));
    say(open.back(), attack);
    EXPECT_TRUE(is_dropped(open.back()));
  }
  for (const auto& attack : all.unfinished) {
    open.push_back(connect_to(root_address(id)));
    say(open.back(), attack);
  }
  for (const PathResult& result : connect_threads({&id, 1}, 6)) {
    ASSERT_TRUE(result) << result.error().message();
  }
  EXPECT_EQ(log.count("dropped a connection"), 1u);
}

TEST(Strangers, AThousandSilentOnesDoNotKeepTheRanksOut) {
  const UniqueIdBytes id = loopback_id();
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 500; ++i) strangers.push_back(connect_to(root_address(id)));
  std::thread flood([&] {
    for (int i = 0; i < 500; ++i) strangers.push_back(connect_to(root_address(id)));
  });
  const std::vector<PathResult> results = connect_threads({&id, 1}, 16);
  flood.join();
  for (const PathResult& result : results) ASSERT_TRUE(result) << result.error().message();
}

// All listeners of this process.
std::vector<SocketAddress> listeners() {
  std::vector<SocketAddress> result;
  DIR* directory = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    int listening = 0;
    socklen_t bytes = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &bytes) == 0 && listening != 0) {
      result.push_back(boot::local_address(fd));
    }
  }
  ::closedir(directory);
  return result;
}

TEST(Strangers, AtEstablishedRanksDoNoHarm) {
  auto paths = world_of_threads(
      4, [](BootstrapOptions& options) { options.silence_timeout_ns = 600 * kSecond; });
  std::vector<RecordingSink> sinks(4);
  std::vector<Driven> all;
  for (size_t i = 0; i < 4; ++i) all.push_back({paths[i].get(), &sinks[i]});
  const std::vector<SocketAddress> doors = listeners();
  ASSERT_GE(doors.size(), 4u);
  std::vector<UniqueFd> strangers;
  for (const SocketAddress& door : doors) {
    const Attacks attack = attacks(0);
    for (const auto& list : {attack.wrong, attack.unfinished}) {
      for (const auto& bytes : list) {
        strangers.push_back(connect_to(door));
        say(strangers.back(), bytes);
      }
    }
    for (int i = 0; i < 100; ++i) strangers.push_back(connect_to(door));
  }
  // Ranks 1, 2 and 3 have no connections to each other yet: they must get through the crowd.
  for (int from = 1; from < 4; ++from) {
    for (int to = 1; to < 4; ++to) {
      if (from == to) continue;
      ASSERT_TRUE(paths[static_cast<size_t>(from)]->send(to, bytes_of("hello")));
    }
  }
  ASSERT_TRUE(drive_until(all, [&] {
    for (int from = 1; from < 4; ++from) {
      for (int to = 1; to < 4; ++to) {
        if (from != to && sinks[static_cast<size_t>(to)].messages[from].empty()) return false;
      }
    }
    return true;
  }));
  EXPECT_TRUE(close_all(all));
  for (const RecordingSink& sink : sinks) EXPECT_TRUE(sink.lost.empty());
}

// --- the door itself, with a time of its own ---

const boot::Key kKey = boot::derive_key("strangers test", {});

struct Door : public boot::Host {
  explicit Door(const boot::DoorLimits& limits) : poller(std::move(*boot::Poller::create())) {
    boot::Socket listener = boot::open_listener(loopback(0));
    address = boot::local_address(listener.fd.get());
    keeper.emplace(std::move(listener.fd), kKey, "the test", limits, poller);
    EXPECT_TRUE(keeper->open());
  }
  boot::Verdict on_proven(const boot::Hello&) override { return boot::Verdict::kAccepted; }
  void on_admitted(const boot::Hello& hello, boot::FrameStream stream, TimeNs) override {
    admitted.push_back(hello.from);
    streams.push_back(std::move(stream));
  }
  // Handles what is there until `done`.
  bool run(TimeNs now, const std::function<bool()>& done) {
    const TimeNs end = system_clock().now_ns() + kPatience;
    while (!done() && system_clock().now_ns() < end) {
      keeper->tick(now);
      const auto ready = poller.ready(5);
      for (const int fd : ready) keeper->handle(fd, now, *this);
    }
    return done();
  }

  boot::Poller poller;
  SocketAddress address;
  std::optional<boot::Doorkeeper> keeper;
  std::vector<uint32_t> admitted;
  std::vector<boot::FrameStream> streams;
};

TEST(Door, DropsWhoIsSlowHoweverItTrickles) {
  Door door({.guests = 10, .handshake_timeout_ns = 5 * kSecond});
  const UniqueFd slow = connect_to(door.address);
  TimeNs now = 100 * kSecond;
  ASSERT_TRUE(door.run(now, [&] { return door.keeper->guests() == 1; }));
  const std::vector<std::byte> hello = hello_bytes(boot::Purpose::kPeer, 0);
  for (int second = 0; second < 5; ++second) {
    EXPECT_EQ(door.keeper->guests(), 1u);
    say(slow, std::span(hello).subspan(static_cast<size_t>(second), 1));
    now += kSecond;
    door.keeper->tick(now - 1);
    for (const int fd : door.poller.ready(5)) door.keeper->handle(fd, now - 1, door);
  }
  EXPECT_EQ(door.keeper->next_deadline(), now);
  door.keeper->tick(now);
  EXPECT_EQ(door.keeper->guests(), 0u);
  EXPECT_EQ(door.keeper->strangers(), 1u);
  EXPECT_TRUE(is_dropped(slow));
}

TEST(Door, IsNeverFullForLong) {
  Door door({.guests = 4, .handshake_timeout_ns = 60 * kSecond, .patience_ns = kSecond});
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 4; ++i) strangers.push_back(connect_to(door.address));
  const TimeNs start = 100 * kSecond;
  ASSERT_TRUE(door.run(start, [&] { return door.keeper->guests() == 4; }));
  boot::Poller poller = std::move(*boot::Poller::create());
  boot::Dialer dialer(door.address, kKey, {.purpose = boot::Purpose::kPeer, .from = 3}, kNever,
                      poller);
  // Within their patience the strangers keep their places ...
  ASSERT_TRUE(door.run(start, [&] { return door.keeper->next_deadline() == start + kSecond; }));
  EXPECT_EQ(door.keeper->strangers(), 0u);
  // ... then the first of them makes room.
  ASSERT_TRUE(
      door.run(start + kSecond, [&] { return dialer.step(0) == boot::Dialer::State::kConnected; }));
  EXPECT_EQ(door.admitted, std::vector<uint32_t>{3});
  EXPECT_EQ(door.keeper->strangers(), 1u);
  EXPECT_TRUE(is_dropped(strangers[0]));
}

// --- those who know the key but do not behave ---

struct Ends : public boot::ConnectionEvents {
  void on_up(int peer) override { up.push_back(peer); }
  Status on_frame(int, const boot::Frame&) override {
    ++frames;
    return Status::ok();
  }
  void on_down(int peer, boot::DownCause cause, const std::string&) override {
    down.emplace_back(peer, cause);
  }
  std::optional<SocketAddress> address_of(int) override { return std::nullopt; }

  std::vector<int> up;
  std::vector<std::pair<int, boot::DownCause>> down;
  int frames = 0;
};

TEST(Peers, WithMalformedFramesAreLost) {
  const std::vector<std::vector<uint32_t>> bad = {
      {boot::kMaxFrameBytes + 1, 1}, {0xffffffff, 1}, {4, 0x10001, 0}};
  for (const std::vector<uint32_t>& words : bad) {
    boot::Socket listener = boot::open_listener(loopback(0));
    const SocketAddress address = boot::local_address(listener.fd.get());
    const TimeNs now = kSecond;
    auto connections = boot::TcpConnections::create({.rank = 0, .ranks = 4, .key = kKey},
                                                    std::move(listener.fd), now);
    ASSERT_TRUE(connections);
    Ends ends;
    boot::Poller poller = std::move(*boot::Poller::create());
    boot::Dialer dialer(address, kKey,
                        {.purpose = boot::Purpose::kPeer, .from = 2, .to = 0, .ranks = 4}, kNever,
                        poller);
    const TimeNs end = system_clock().now_ns() + kPatience;
    while (dialer.step(0) == boot::Dialer::State::kPending && system_clock().now_ns() < end) {
      (*connections)->progress(now, ends);
      (void)poller.ready(1);
    }
    ASSERT_EQ(dialer.state(), boot::Dialer::State::kConnected);
    boot::FrameStream stream = dialer.take_stream();
    stream.queue_frame(3, bytes_of("fine"));
    stream.queue_raw(std::as_bytes(std::span(words)));
    ASSERT_TRUE(stream.flush());
    while (ends.down.empty() && system_clock().now_ns() < end) {
      (*connections)->progress(now, ends);
    }
    EXPECT_EQ(ends.up, std::vector<int>{2});
    EXPECT_EQ(ends.frames, 1);
    ASSERT_EQ(ends.down.size(), 1u);
    EXPECT_EQ(ends.down[0], std::make_pair(2, boot::DownCause::kBadFrame));
  }
}

TEST(Peers, InTheWrongPlaceAreTurnedAway) {
  boot::Socket listener = boot::open_listener(loopback(0));
  const SocketAddress address = boot::local_address(listener.fd.get());
  const TimeNs now = kSecond;
  auto connections = boot::TcpConnections::create({.rank = 0, .ranks = 4, .key = kKey},
                                                  std::move(listener.fd), now);
  ASSERT_TRUE(connections);
  Ends ends;
  const boot::Purpose peer = boot::Purpose::kPeer;
  const std::vector<boot::Hello> wrong = {
      {.purpose = boot::Purpose::kJoin, .from = 2, .to = 0, .ranks = 4},
      {.purpose = peer, .from = 2, .to = 1, .ranks = 4},
      {.purpose = peer, .from = 2, .to = 0, .ranks = 5},
      {.purpose = peer, .from = 4, .to = 0, .ranks = 4},
      {.purpose = peer, .from = 0, .to = 0, .ranks = 4},
      {.purpose = peer, .from = 0xffffffff, .to = 0, .ranks = 4},
  };
  for (const boot::Hello& hello : wrong) {
    boot::Poller poller = std::move(*boot::Poller::create());
    boot::Dialer dialer(address, kKey, hello, kNever, poller);
    const TimeNs end = system_clock().now_ns() + kPatience;
    while (dialer.step(0) == boot::Dialer::State::kPending && system_clock().now_ns() < end) {
      (*connections)->progress(now, ends);
      (void)poller.ready(1);
    }
    EXPECT_EQ(dialer.state(), boot::Dialer::State::kFailed);
    EXPECT_THAT(std::string(dialer.status().message()), HasSubstr("serves another rank"));
  }
  EXPECT_TRUE(ends.up.empty());
}

}  // namespace
}  // namespace railccl::test
