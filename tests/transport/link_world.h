// Two ranks with a link between them over simulated rails, for tests: both links, their rails, a
// control path with its own delay, and sinks that record. Time is the network's.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/transport/test_bytes.h"
#include "transport/link.h"
#include "transport/sim/sim_network.h"

namespace railccl::testing_support {

struct LinkWorldOptions {
  uint64_t seed = 1;
  std::vector<uint64_t> rail_bytes_per_second = {1'250'000'000};
  std::vector<int> tiers;  // of the rails' pairs; empty: all 0
  TimeNs latency_ns = 5 * kMicrosecond;
  LinkOptions link;  // pairs are filled in: rail i with rail i
  bool control_path = true;
  // May wrap rail `rail` of `rank`.
  std::function<std::unique_ptr<Rail>(int rank, int rail, std::unique_ptr<Rail> inner)> decorate;
  bool copy_data = true;
};

// Memory registered on every rail of a side.
struct LinkBuffer {
  std::vector<std::byte> bytes;
  RegisteredBuffer registered;
  RemoteBuffer remote;
};

class LinkSide final : public LinkSink, public EventSink {
 public:
  void on_connected(int) override { ++connected; }
  void on_put_done(int, uint64_t token, const Status& status) override;
  void on_notification(int, uint64_t tag) override;
  void on_message(int, std::span<const std::byte> message) override;
  void on_failed(int, const Status& status) override;
  void send_on_control_path(int, std::span<const std::byte> bytes) override;
  void on_event(const RailEvent& event) override;

  int rank = 0;
  class LinkWorld* world = nullptr;
  std::vector<std::unique_ptr<Rail>> rails;
  std::unique_ptr<Link> link;
  int rail_in_progress = 0;

  int connected = 0;
  int failed = 0;
  Status failure;
  std::map<uint64_t, int> done;          // token -> times
  std::map<uint64_t, Status> done_with;  // errors only
  std::map<uint64_t, int> notified;      // tag -> times
  std::vector<std::vector<std::byte>> messages;
  std::function<void(uint64_t tag)> on_tag;
  std::function<void(uint64_t token)> on_done;
};

class LinkWorld {
 public:
  explicit LinkWorld(const LinkWorldOptions& options);
  ~LinkWorld();

  // Rail `rail` of side `side` in the network's numbering, for faults.
  int sim_rail(int side, int rail) const { return side * rails_ + rail; }
  SimNetwork& network() { return network_; }
  LinkSide& side(int side) { return sides_[static_cast<size_t>(side)]; }
  Link& link(int side) { return *sides_[static_cast<size_t>(side)].link; }
  TimeNs now() const { return network_.now(); }
  std::unique_ptr<LinkBuffer> make_buffer(int side, size_t bytes);

  // Exchanges addresses and runs until both are connected.
  void connect();
  // Runs until `done`, or to `deadline` of the clock: false.
  bool run_until(const std::function<bool()>& done, TimeNs deadline_ns = 60 * kSecond);
  void run_for(TimeNs ns);
  void close_both();

  // Puts `bytes` on the control path to the other side.
  void carry(int from, std::span<const std::byte> bytes);
  bool control_path_open = true;
  int frozen = -1;  // this rank does not progress: a late or stopped process
  uint64_t control_frames = 0;
  uint32_t failures(int side) const;
  uint32_t recoveries(int side) const;
  std::string describe() const;

 private:
  bool progress();

  LinkWorldOptions options_;
  SimNetwork network_;
  int rails_;
  std::vector<LinkSide> sides_;
  struct ControlMessage {
    TimeNs at = 0;
    int to = 0;
    std::vector<std::byte> bytes;
  };
  std::deque<ControlMessage> control_;
};

// Small chunks and short timeouts, so that faults meet many of them: `rails` of 1 GB/s, the second
// of 0.4 GB/s.
LinkOptions quick_link_options();
LinkWorldOptions quick_world(uint64_t seed, size_t rails);

// As fill_pattern() does.
std::vector<std::byte> pattern(size_t bytes, uint64_t seed);
inline void fill(LinkBuffer& buffer, uint64_t seed) { fill_pattern(buffer.bytes, seed); }

}  // namespace railccl::testing_support
