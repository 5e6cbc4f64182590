#include "transport/sim/sim_network.h"

#include <algorithm>
#include <utility>

#include "transport/sim/sim_rail.h"

namespace railccl {

SimNetwork::SimNetwork(const SimOptions& options) : options_(options), random_(options.seed) {}
SimNetwork::~SimNetwork() = default;

std::unique_ptr<Rail> SimNetwork::add_rail(const SimRailConfig& config) {
  auto rail = std::make_unique<SimRail>(*this, static_cast<int>(rails_.size()), config);
  rails_.push_back(rail.get());
  return rail;
}

void SimNetwork::schedule(TimeNs at, std::function<void()> action) {
  events_.push_back({.at = std::max(at, now_), .order = order_++, .action = std::move(action)});
  std::push_heap(events_.begin(), events_.end(), later);
}

bool SimNetwork::advance() {
  if (events_.empty()) return false;
  advance_to(events_.front().at);
  return true;
}

void SimNetwork::advance_to(TimeNs time) {
  while (!events_.empty() && events_.front().at <= time) {
    std::pop_heap(events_.begin(), events_.end(), later);
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = std::max(now_, event.at);
    event.action();
  }
  now_ = std::max(now_, time);
}

bool SimNetwork::happens(double probability) {
  return probability > 0 && static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
}

void SimNetwork::inject(const SimFault& fault) {
  schedule(fault.at, [this, fault] {
    if (SimRail* target = rail(fault.rail)) target->apply(fault);
  });
}

uint64_t SimNetwork::add_endpoint(SimEndpoint* endpoint) {
  uint64_t id = random_();
  while (id == 0 || endpoints_.contains(id)) id = random_();
  endpoints_[id] = endpoint;
  return id;
}

SimEndpoint* SimNetwork::endpoint(uint64_t id) {
  const auto found = endpoints_.find(id);
  return found == endpoints_.end() ? nullptr : found->second;
}

bool SimNetwork::carries(int from, int to) {
  SimRail* sender = rail(from);
  SimRail* receiver = rail(to);
  if (sender == nullptr || receiver == nullptr) return false;
  const SimPort& out = sender->port();
  const SimPort& in = receiver->port();
  return out.up && !out.mute && in.up && !in.deaf;
}

}  // namespace railccl
