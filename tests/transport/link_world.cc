#include "tests/transport/link_world.h"

#include <algorithm>

namespace railccl::testing_support {
namespace {

constexpr uint64_t kTagBase = 100;
constexpr TimeNs kControlDelayNs = 200 * kMicrosecond;
constexpr TimeNs kIdleStepNs = 100 * kMicrosecond;

}  // namespace

void LinkSide::on_put_done(int, uint64_t token, const Status& status) {
  EXPECT_EQ(failed, 0);
  ++done[token];
  if (!status.is_ok()) done_with[token] = status;
  if (on_done && status.is_ok()) on_done(token);
}

void LinkSide::on_notification(int, uint64_t tag) {
  EXPECT_EQ(failed, 0);
  ++notified[tag];
  if (on_tag) on_tag(tag);
}

void LinkSide::on_message(int, std::span<const std::byte> message) {
  messages.emplace_back(message.begin(), message.end());
}

void LinkSide::on_failed(int, const Status& status) {
  ++failed;
  failure = status;
}

void LinkSide::send_on_control_path(int, std::span<const std::byte> bytes) {
  world->carry(rank, bytes);
}

void LinkSide::on_event(const RailEvent& event) {
  if (event.kind == RailEvent::Kind::kRailDown || event.kind == RailEvent::Kind::kRailUp) {
    link->on_port_event(rail_in_progress, event, world->now());
  } else {
    link->on_rail_event(static_cast<int>(event.endpoint_tag - kTagBase), event, world->now());
  }
}

LinkWorld::LinkWorld(const LinkWorldOptions& options)
    : options_(options),
      network_({.seed = options.seed, .copy_data = options.copy_data}),
      rails_(static_cast<int>(options.rail_bytes_per_second.size())),
      sides_(2) {
  for (int rank = 0; rank < 2; ++rank) {
    LinkSide& mine = side(rank);
    mine.rank = rank;
    mine.world = this;
    LinkOptions link_options = options.link;
    link_options.self = rank;
    link_options.peer = 1 - rank;
    std::vector<Rail*> rails;
    for (int i = 0; i < rails_; ++i) {
      const SimRailConfig config{
          .name = fmt::format("rank{}rail{}", rank, i),
          .bytes_per_second = options.rail_bytes_per_second[static_cast<size_t>(i)],
          .latency_ns = options.latency_ns};
      std::unique_ptr<Rail> rail = network_.add_rail(config);
      if (options.decorate) rail = options.decorate(rank, i, std::move(rail));
      mine.rails.push_back(std::move(rail));
      rails.push_back(mine.rails.back().get());
      const int tier = options.tiers.empty() ? 0 : options.tiers[static_cast<size_t>(i)];
      link_options.pairs.push_back({.local_rail = i, .peer_rail = i, .tier = tier});
    }
    auto link = Link::create(link_options, rails, kTagBase, mine);
    if (!link) ADD_FAILURE() << link.error().message();
    mine.link = std::move(*link);
  }
}

LinkWorld::~LinkWorld() {
  for (LinkSide& each : sides_) each.link.reset();
}

std::unique_ptr<LinkBuffer> LinkWorld::make_buffer(int side_index, size_t bytes) {
  auto buffer = std::make_unique<LinkBuffer>();
  buffer->bytes.resize(bytes);
  buffer->registered.region = {.address = buffer->bytes.data(), .bytes = bytes};
  for (const auto& rail : side(side_index).rails) {
    auto registration = rail->register_memory(buffer->registered.region);
    if (!registration) ADD_FAILURE() << registration.error().message();
    buffer->registered.on_rail.push_back(std::move(*registration));
  }
  buffer->remote = railccl::describe(buffer->registered);
  return buffer;
}

void LinkWorld::connect() {
  const auto first = link(0).address();
  const auto second = link(1).address();
  ASSERT_TRUE(link(0).connect(second, now()).is_ok());
  ASSERT_TRUE(link(1).connect(first, now()).is_ok());
  ASSERT_TRUE(
      run_until([&] { return link(0).connected() && link(1).connected(); }, now() + kSecond));
}

void LinkWorld::carry(int from, std::span<const std::byte> bytes) {
  if (!options_.control_path) return;
  ++control_frames;
  if (!control_path_open) return;
  control_.push_back(
      {.at = now() + kControlDelayNs, .to = 1 - from, .bytes = {bytes.begin(), bytes.end()}});
}

bool LinkWorld::progress() {
  bool did = false;
  while (!control_.empty() && control_.front().at <= now() && control_.front().to != frozen) {
    const ControlMessage message = std::move(control_.front());
    control_.pop_front();
    const Status status = link(message.to).on_control_path(message.bytes, now());
    EXPECT_TRUE(status.is_ok()) << status.message();
    did = true;
  }
  for (LinkSide& each : sides_) {
    if (each.rank == frozen) continue;
    for (size_t i = 0; i < each.rails.size(); ++i) {
      each.rail_in_progress = static_cast<int>(i);
      did |= each.rails[i]->progress(now(), each);
    }
    did |= each.link->progress(now());
  }
  return did;
}

bool LinkWorld::run_until(const std::function<bool()>& done, TimeNs deadline_ns) {
  while (true) {
    while (progress()) {
    }
    if (done()) return true;
    if (now() >= deadline_ns) return false;
    TimeNs next = network_.next_event();
    if (!control_.empty()) next = std::min(next, control_.front().at);
    for (const LinkSide& each : sides_) {
      if (each.rank != frozen) next = std::min(next, each.link->next_deadline());
    }
    // A deadline in the past that leads to nothing must not stop the clock.
    next = std::max(next, next <= now() ? now() + kIdleStepNs : now());
    network_.advance_to(std::min(next, deadline_ns));
  }
}

void LinkWorld::run_for(TimeNs ns) {
  const TimeNs end = now() + ns;
  (void)run_until([&] { return now() >= end; }, end);
}

void LinkWorld::close_both() {
  for (LinkSide& each : sides_) each.link->close(Status(Code::kAborted, "test ends"), now());
  EXPECT_TRUE(run_until([&] { return link(0).closed() && link(1).closed(); }, now() + kSecond));
}

uint32_t LinkWorld::failures(int side_index) const {
  uint32_t sum = 0;
  for (const LinkRailStats& stats : sides_[static_cast<size_t>(side_index)].link->stats()) {
    sum += stats.failures;
  }
  return sum;
}

uint32_t LinkWorld::recoveries(int side_index) const {
  uint32_t sum = 0;
  for (const LinkRailStats& stats : sides_[static_cast<size_t>(side_index)].link->stats()) {
    sum += stats.recoveries;
  }
  return sum;
}

std::string LinkWorld::describe() const {
  std::string text = fmt::format("at {} us", now() / kMicrosecond);
  for (const LinkSide& each : sides_) {
    for (const LinkRailStats& stats : each.link->stats()) {
      text += fmt::format(
          "\n  rank {}: {} sent {} received {} chunks {} failures {} recoveries {} {}", each.rank,
          rail_state_name(stats.state), stats.bytes_sent, stats.bytes_received, stats.chunks_sent,
          stats.failures, stats.recoveries, stats.last_error);
    }
  }
  return text;
}

LinkOptions quick_link_options() {
  LinkOptions options;
  options.chunk_bytes = 16384;
  options.small_put_bytes = 8192;
  options.message_ring_bytes = 131072;
  options.rail_timeout_ns = 4 * kMillisecond;
  options.link_timeout_ns = 5 * kSecond;
  options.probe_pause_ns = 500 * kMicrosecond;
  options.probe_pause_max_ns = 20 * kMillisecond;
  return options;
}

LinkWorldOptions quick_world(uint64_t seed, size_t rails) {
  LinkWorldOptions options{.seed = seed, .link = quick_link_options()};
  options.rail_bytes_per_second.assign(rails, 1'000'000'000);
  if (rails > 1) options.rail_bytes_per_second[1] = 400'000'000;
  return options;
}

std::vector<std::byte> pattern(size_t bytes, uint64_t seed) {
  std::vector<std::byte> data(bytes);
  fill_pattern(data, seed);
  return data;
}

}  // namespace railccl::testing_support
