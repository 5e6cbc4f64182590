// Harness and helpers of the conformance suite; the tests are in contract_test.cc and
// contract_close_test.cc.
#include "tests/transport/conformance/rail_conformance.h"

#include <algorithm>

namespace railccl::testing_support {

size_t RecordingSink::count(RailEvent::Kind kind) const {
  return static_cast<size_t>(std::ranges::count(events_, kind, &RailEvent::kind));
}

size_t RecordingSink::count(RailEvent::Kind kind, uint64_t endpoint_tag) const {
  return static_cast<size_t>(std::ranges::count_if(events_, [&](const RailEvent& event) {
    return event.kind == kind && event.endpoint_tag == endpoint_tag;
  }));
}

size_t RecordingSink::completions(uint64_t endpoint_tag, uint64_t token) const {
  return static_cast<size_t>(std::ranges::count_if(events_, [&](const RailEvent& event) {
    return event.kind == RailEvent::Kind::kPutDone && event.endpoint_tag == endpoint_tag &&
           event.token == token;
  }));
}

const RailEvent* RecordingSink::find(RailEvent::Kind kind, uint64_t endpoint_tag) const {
  const auto found = std::ranges::find_if(events_, [&](const RailEvent& event) {
    return event.kind == kind && event.endpoint_tag == endpoint_tag;
  });
  return found == events_.end() ? nullptr : &*found;
}

TestBuffer make_buffer(Rail& rail, size_t bytes, uint8_t fill, bool by_view) {
  TestBuffer buffer;
  buffer.bytes.assign(bytes, std::byte{fill});
  auto registration = rail.register_memory(
      {.address = buffer.bytes.data(), .bytes = buffer.bytes.size(), .by_view = by_view});
  if (registration) {
    buffer.registration = std::move(*registration);
  } else {
    ADD_FAILURE() << registration.error().message();
  }
  return buffer;
}

Put make_put(const TestBuffer& source, const TestBuffer& target, size_t bytes, uint64_t token) {
  return {.token = token,
          .source = source.registration.get(),
          .bytes = bytes,
          .remote_key = target.registration->key(),
          .notification = {token, 2, 3, 4}};
}

void RailConformance::start(const RailPairOptions& options) {
  endpoints_ = {};
  sinks_ = {};
  pair_.reset();
  pair_ = GetParam().make(options);
  ASSERT_NE(pair_, nullptr);
}

void RailConformance::connect() {
  if (!pair_) start();
  for (int side = 0; side < 2; ++side) {
    auto opened = rail(side).open_endpoint(kTag + static_cast<uint64_t>(side));
    ASSERT_TRUE(opened) << opened.error().message();
    endpoints_[static_cast<size_t>(side)] = std::move(*opened);
  }
  for (int side = 0; side < 2; ++side) {
    const Status status = endpoint(side).connect(endpoint(1 - side).address());
    ASSERT_TRUE(status) << status.message();
  }
  ASSERT_TRUE(progress_until([&] {
    return count(0, RailEvent::Kind::kConnected) == 1 && count(1, RailEvent::Kind::kConnected) == 1;
  })) << "the endpoints did not connect";
}

bool RailConformance::progress_until(const std::function<bool()>& done, TimeNs deadline_ns) {
  const TimeNs deadline = pair_->now() + deadline_ns;
  while (!done()) {
    const TimeNs now = pair_->now();
    if (now >= deadline) return false;
    const bool first = sink(0).progress(rail(0), now);
    const bool second = sink(1).progress(rail(1), now);
    if (!first && !second && !done()) pair_->idle();
  }
  return true;
}

void RailConformance::settle(int idle_rounds) {
  for (int idle = 0; idle < idle_rounds;) {
    const TimeNs now = pair_->now();
    const bool first = sink(0).progress(rail(0), now);
    const bool second = sink(1).progress(rail(1), now);
    if (first || second) continue;
    ++idle;
    pair_->idle();
  }
}

Status RailConformance::put(int side, const Put& put) {
  Status status = endpoint(side).put(put);
  const TimeNs deadline = pair_->now() + 60 * kSecond;
  while (status.code() == Code::kBackPressure && pair_->now() < deadline) {
    const TimeNs now = pair_->now();
    const bool first = sink(0).progress(rail(0), now);
    const bool second = sink(1).progress(rail(1), now);
    if (!first && !second) pair_->idle();
    status = endpoint(side).put(put);
  }
  return status;
}

void RailConformance::put_patterns(bool by_view, const CheckNotified& check) {
  constexpr uint64_t kPuts = 100;
  constexpr size_t kLarge = 30'000;
  connect();
  TestBuffer source = make_buffer(rail(0), kPuts * kLarge, 0);
  TestBuffer target = make_buffer(rail(1), kPuts * kLarge, 0, by_view);
  const auto bytes_of = [](uint64_t token) {
    return token % 2 == 0 ? 100 + token : kLarge - token;
  };
  sink(1).set_reaction([&](const RailEvent& event) {
    if (event.kind != RailEvent::Kind::kNotification) return;
    const uint64_t token = event.notification[0];
    ASSERT_LT(token, kPuts);
    EXPECT_EQ(event.bytes, bytes_of(token));
    check(event, std::span(target.bytes).subspan(token * kLarge, bytes_of(token)));
  });
  for (uint64_t token = 0; token < kPuts; ++token) {
    Put one = make_put(source, target, bytes_of(token), token);
    one.source_offset = one.remote_offset = token * kLarge;
    fill_pattern(std::span(source.bytes).subspan(one.source_offset, one.bytes), token);
    ASSERT_TRUE(put(0, one));
  }
  ASSERT_TRUE(progress_until([&] { return count(1, RailEvent::Kind::kNotification) == kPuts; }));
}

void RailConformance::close_both() {
  for (int side = 0; side < 2; ++side) endpoint(side).close();
  EXPECT_TRUE(progress_until([&] {
    return count(0, RailEvent::Kind::kClosed) == 1 && count(1, RailEvent::Kind::kClosed) == 1;
  })) << "close() did not end in bounded time";
}

}  // namespace railccl::testing_support
