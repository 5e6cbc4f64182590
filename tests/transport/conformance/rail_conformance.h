// The contract of transport/rail.h as one suite over every transport. A transport adds only a
// harness:
//
//   class TcpPair final : public RailPair { ... };
//   INSTANTIATE_TEST_SUITE_P(Tcp, RailConformance, testing::Values(RailPairFactory{"tcp", ...}),
//                            rail_pair_name);
//
// and lists ${RAILCCL_CONFORMANCE_SOURCES} among its program's sources. All of it runs on the
// test's one thread.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "tests/transport/test_bytes.h"
#include "transport/rail.h"

namespace railccl::testing_support {

// What a test asks of the rails. Sizes are small so that limits are met.
struct RailPairOptions {
  size_t max_outstanding_puts = 64;         // back-pressure must come at some point beyond this
  TimeNs connect_timeout_ns = 2 * kSecond;  // of the rail's own time
};

// Two rails that can reach each other, and the time they are told.
class RailPair {
 public:
  virtual ~RailPair() = default;
  virtual Rail& rail(int side) = 0;  // 0 or 1
  // The time to pass to progress(); a simulation advances its own clock here, a real rail reads the
  // system's.
  virtual TimeNs now() = 0;
  // Called when a round of progress on both sides did nothing: a real rail may wait (bounded, some
  // milliseconds) for a descriptor; a simulation moves on to its next event.
  virtual void idle() = 0;
};

struct RailPairFactory {
  std::string name;
  std::function<std::unique_ptr<RailPair>(const RailPairOptions&)> make;
  std::string missing;  // why there can be no such rails here: the tests skip; empty: there can
};
inline void PrintTo(const RailPairFactory& factory, std::ostream* out) { *out << factory.name; }
inline std::string rail_pair_name(const testing::TestParamInfo<RailPairFactory>& info) {
  return info.param.name;
}

// Records every event of a side, and lets a test react inside of one.
class RecordingSink final : public EventSink {
 public:
  void on_event(const RailEvent& event) override {
    inside_progress_only_ = inside_progress_only_ && progressing_;
    events_.push_back(event);
    if (react_) react_(event);
  }
  // Run rail.progress, or flush, and note events that come at any other time.
  bool progress(Rail& rail, TimeNs now) { return serve(rail, now, &Rail::progress); }
  bool flush(Rail& rail, TimeNs now) { return serve(rail, now, &Rail::flush); }
  void set_reaction(std::function<void(const RailEvent&)> react) { react_ = std::move(react); }
  const std::vector<RailEvent>& events() const { return events_; }
  bool inside_progress_only() const { return inside_progress_only_; }

  size_t count(RailEvent::Kind kind) const;
  size_t count(RailEvent::Kind kind, uint64_t endpoint_tag) const;
  // How often the put `token` of the endpoint was completed.
  size_t completions(uint64_t endpoint_tag, uint64_t token) const;
  // The first event of this kind on the endpoint; null: none.
  const RailEvent* find(RailEvent::Kind kind, uint64_t endpoint_tag) const;

 private:
  bool serve(Rail& rail, TimeNs now, bool (Rail::*how)(TimeNs, EventSink&)) {
    progressing_ = true;
    const bool did = (rail.*how)(now, *this);
    progressing_ = false;
    return did;
  }

  std::vector<RailEvent> events_;
  std::function<void(const RailEvent&)> react_;
  bool progressing_ = false;
  bool inside_progress_only_ = true;
};

// Registered memory with a value in every byte, outside of which nothing may change.
struct TestBuffer {
  std::vector<std::byte> bytes;
  std::unique_ptr<Registration> registration;
};
TestBuffer make_buffer(Rail& rail, size_t bytes, uint8_t fill, bool by_view = false);
// `bytes` from the beginning of `source` to that of `target`, the token in the notification.
Put make_put(const TestBuffer& source, const TestBuffer& target, size_t bytes, uint64_t token);

constexpr uint64_t kTag = 7000;  // endpoint tag of side s: kTag + s

class RailConformance : public testing::TestWithParam<RailPairFactory> {
 protected:
  void SetUp() override {
    if (!GetParam().missing.empty()) GTEST_SKIP() << GetParam().missing;
  }
  // Makes the pair, anew when there was one. connect() does it for tests that need no options.
  void start(const RailPairOptions& options = {});
  // Opens and connects an endpoint on both sides; fails the test if that does not work.
  void connect();
  // Both sides progress until `done`, or until nothing happened for the deadline: false.
  bool progress_until(const std::function<bool()>& done, TimeNs deadline_ns = 60 * kSecond);
  // Progresses both sides for as long as anything happens, and some idle rounds more.
  void settle(int idle_rounds = 20);

  Rail& rail(int side) { return pair_->rail(side); }
  Endpoint& endpoint(int side) { return *endpoints_[static_cast<size_t>(side)]; }
  RecordingSink& sink(int side) { return sinks_[static_cast<size_t>(side)]; }
  size_t count(int side, RailEvent::Kind kind) { return sink(side).count(kind); }
  // put() that progresses through back-pressure.
  Status put(int side, const Put& put);
  void close_both();
  // Puts of many sizes into memory registered so, each with the pattern of its token; `check` sees
  // every notification and the place of its bytes.
  using CheckNotified = std::function<void(const RailEvent&, std::span<const std::byte> place)>;
  void put_patterns(bool by_view, const CheckNotified& check);

  std::unique_ptr<RailPair> pair_;
  std::array<RecordingSink, 2> sinks_;
  std::array<std::unique_ptr<Endpoint>, 2> endpoints_;
};

}  // namespace railccl::testing_support
