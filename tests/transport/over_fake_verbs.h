// What tests of verbs rails over a libibverbs of their own have in common.
#pragma once

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/transport/fake_verbs.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl::testing_support {

class Sink final : public EventSink {
 public:
  void on_event(const RailEvent& event) override { events.push_back(event); }
  std::vector<RailEvent> events;
};

inline std::string text(const Status& status) { return std::string(status.message()); }

// Rails over it, and the time that they are told.
class OverFakeVerbs : public testing::Test {
 protected:
  VerbsDiscovery discover(const VerbsDiscoveryOptions& options = {}) {
    auto found = discover_verbs_rails(options, fake_.api());
    if (found) return std::move(*found);
    ADD_FAILURE() << found.error().message();
    return {};
  }
  std::unique_ptr<Rail> open(const VerbsRailOptions& options = {}) {
    const VerbsDiscovery found = discover();
    if (found.rails.empty()) {
      ADD_FAILURE() << fmt::format("{}", fmt::join(found.warnings, "; "));
      return nullptr;
    }
    auto rail = open_verbs_rail(found.rails[0], options, fake_.api());
    if (rail) return std::move(*rail);
    ADD_FAILURE() << rail.error().message();
    return nullptr;
  }
  // As an owner that sleeps after it.
  std::vector<RailEvent> progress(Rail& rail) {
    Sink sink;
    rail.prepare_sleep();
    while (rail.progress(now_, sink)) {
    }
    return sink.events;
  }
  // Until something has happened, with so much time between two looks.
  std::vector<RailEvent> await_events(Rail& rail, TimeNs pause = 0) {
    while (true) {
      std::vector<RailEvent> events = progress(rail);
      if (!events.empty()) return events;
      now_ += pause;
      std::this_thread::yield();
    }
  }

  FakeVerbs fake_;
  TimeNs now_ = kSecond;
};

}  // namespace railccl::testing_support
