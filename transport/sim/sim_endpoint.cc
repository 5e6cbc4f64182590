#include "transport/sim/sim_endpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace railccl {
namespace {

constexpr TimeNs kConnectRetryNs = 100 * kMicrosecond;
constexpr TimeNs kRetransmitNs = kMillisecond;

}  // namespace

SimEndpoint::SimEndpoint(SimNetwork& network, SimRail& rail, uint64_t tag)
    : network_(network), rail_(rail), tag_(tag), id_(network.add_endpoint(this)) {
  rail_.endpoints_.push_back(this);
}

SimEndpoint::~SimEndpoint() {
  std::erase(rail_.endpoints_, this);
  network_.remove_endpoint(id_);
  for (const FlightRef& flight : outstanding_) flight->completed = flight->dropped = true;
}

std::vector<std::byte> SimEndpoint::address() const {
  std::vector<std::byte> bytes(sizeof id_);
  std::memcpy(bytes.data(), &id_, sizeof id_);
  return bytes;
}

// --- Connecting ----------------------------------------------------------------------------------

Status SimEndpoint::connect(const std::vector<std::byte>& peer_address) {
  if (state_ != State::kNew) return error(Code::kInvalidUsage, "the endpoint was connected before");
  if (peer_address.size() != sizeof peer_id_) {
    return error(Code::kInvalidArgument, "{} bytes are no address of a simulated endpoint",
                 peer_address.size());
  }
  std::memcpy(&peer_id_, peer_address.data(), sizeof peer_id_);
  state_ = State::kConnecting;
  connect_until_ = network_.now() + rail_.config().connect_timeout_ns;
  network_.schedule(network_.now() + rail_.config().latency_ns, [&network = network_, id = id_] {
    if (SimEndpoint* self = network.endpoint(id)) self->try_connect();
  });
  return Status::ok();
}

void SimEndpoint::try_connect() {
  if (state_ != State::kConnecting) return;
  SimEndpoint* peer = network_.endpoint(peer_id_);
  if (peer != nullptr && peer->peer_id_ == id_ && peer->state_ == State::kConnecting &&
      network_.carries(rail_.index(), peer->rail_.index()) &&
      network_.carries(peer->rail_.index(), rail_.index())) {
    become_connected();
    peer->become_connected();
    return;
  }
  if (network_.now() >= connect_until_) {
    fail(error(Code::kTimeout, "rail {}: the peer's endpoint does not answer", rail_.info().name));
    return;
  }
  network_.schedule(std::min(network_.now() + kConnectRetryNs, connect_until_),
                    [&network = network_, id = id_] {
                      if (SimEndpoint* self = network.endpoint(id)) self->try_connect();
                    });
}

void SimEndpoint::become_connected() {
  state_ = State::kConnected;
  rail_.raise({.kind = RailEvent::Kind::kConnected, .endpoint_tag = tag_});
}

// --- Sending -------------------------------------------------------------------------------------

Status SimEndpoint::put(const Put& put) {
  if (state_ != State::kConnected) {
    return error(Code::kRailFailed, "rail {}: the endpoint is not connected", rail_.info().name);
  }
  if (put.bytes > rail_.config().max_put_bytes ||
      (put.bytes != 0 && (put.source == nullptr || put.source_offset > put.source->region().bytes ||
                          put.bytes > put.source->region().bytes - put.source_offset))) {
    return error(Code::kInvalidArgument, "rail {}: a put of {} bytes from outside its registration",
                 rail_.info().name, put.bytes);
  }
  if (outstanding_.size() >= rail_.config().max_outstanding_puts) {
    return Status::back_pressure();
  }
  auto flight = std::make_shared<Flight>();
  flight->number = flights_made_++;
  flight->put = put;
  flight->from_rail = rail_.index();
  flight->from = id_;
  flight->to = peer_id_;
  outstanding_.push_back(flight);
  const TimeNs sent = rail_.send_time(put.bytes);
  const TimeNs jitter = rail_.port().jitter_ns;
  const TimeNs delay = rail_.config().latency_ns + (jitter == 0 ? 0 : network_.random() % jitter);
  network_.schedule(sent, [&network = network_, flight, delay] {
    if (flight->completed) return;  // the endpoint ended before this left
    flight->sent = true;
    network.schedule(network.now() + delay, [&network, flight] { arrive(network, flight); });
  });
  return Status::ok();
}

// The source may change from now on: what is on the way carries the bytes of now.
void SimEndpoint::leave(const FlightRef& flight) {
  flight->late_ns = rail_.port().late_ns == 0 ? 0 : network_.random() % rail_.port().late_ns;
  if (!flight->sent || flight->put.bytes == 0 || !network_.copy_data()) return;
  const std::byte* source = flight->put.source->region().address + flight->put.source_offset;
  flight->data.assign(source, source + flight->put.bytes);
}

void SimEndpoint::complete(const FlightRef& flight, const Status& status) {
  if (flight->completed) return;
  flight->completed = true;
  if (!status.is_ok()) leave(flight);
  std::erase(outstanding_, flight);
  rail_.raise({.kind = RailEvent::Kind::kPutDone,
               .endpoint_tag = tag_,
               .token = flight->put.token,
               .status = status});
}

void SimEndpoint::complete_all(const Status& status) {
  const std::vector<FlightRef> all = outstanding_;
  for (const FlightRef& flight : all) complete(flight, status);
}

// --- Ending --------------------------------------------------------------------------------------

void SimEndpoint::fail(const Status& status) {
  if (state_ != State::kConnecting && state_ != State::kConnected) return;
  state_ = State::kFailed;
  complete_all(status);
  rail_.raise({.kind = RailEvent::Kind::kFailed, .endpoint_tag = tag_, .status = status});
}

void SimEndpoint::close() {
  if (state_ == State::kClosing || state_ == State::kClosed) return;
  const bool had_peer = peer_id_ != 0;
  state_ = State::kClosing;
  network_.schedule(network_.now() + rail_.config().close_ns, [&network = network_, id = id_] {
    if (SimEndpoint* self = network.endpoint(id)) self->finish_close();
  });
  SimEndpoint* peer = had_peer ? network_.endpoint(peer_id_) : nullptr;
  if (peer != nullptr && peer->peer_id_ == id_ && rail_.config().close_is_seen &&
      network_.carries(rail_.index(), peer->rail_.index())) {
    fail_later(network_, peer_id_, rail_.config().latency_ns,
               Status(Code::kPeerFailed,
                      fmt::format("rail {}: the peer closed the connection", rail_.info().name)));
  }
}

void SimEndpoint::finish_close() {
  complete_all(Status(Code::kAborted, "the endpoint was closed"));
  state_ = State::kClosed;
  rail_.raise({.kind = RailEvent::Kind::kClosed, .endpoint_tag = tag_});
}

void SimEndpoint::fail_later(SimNetwork& network, uint64_t endpoint, TimeNs delay,
                             const Status& status) {
  network.schedule(network.now() + delay, [&network, endpoint, status] {
    if (SimEndpoint* self = network.endpoint(endpoint)) self->fail(status);
  });
}

// --- Arriving ------------------------------------------------------------------------------------

void SimEndpoint::arrive(SimNetwork& network, const FlightRef& flight) {
  const SimRail* sender = network.rail(flight->from_rail);
  SimEndpoint* target = network.endpoint(flight->to);
  if (sender == nullptr || flight->dropped) return;
  if (target == nullptr || target->state_ == State::kClosed) {
    fail_later(network, flight->from, sender->config().retry_ns,
               Status(Code::kRailFailed, "retries exceeded: the peer's endpoint is closed"));
    return;
  }
  const TimeNs landed = target->rail_.receive_time(flight->put.bytes) + flight->late_ns;
  network.schedule(landed, [&network, flight] { land(network, flight); });
}

void SimEndpoint::land(SimNetwork& network, const FlightRef& flight) {
  SimRail* sender = network.rail(flight->from_rail);
  SimEndpoint* target = network.endpoint(flight->to);
  if (sender == nullptr || flight->dropped) return;
  if (sender->port().lies() && target != nullptr) {
    acknowledge(network, flight, *target);
    return;
  }
  const bool lost =
      target != nullptr && (!network.carries(flight->from_rail, target->rail_.index()) ||
                            network.happens(sender->port().loss));
  if (lost) {
    const bool silent = sender->port().up && target->rail_.port().up;
    if (!silent) {
      fail_later(network, flight->from, sender->config().retry_ns,
                 Status(Code::kRailFailed, "retries exceeded: the peer's port is down"));
    } else if (!flight->completed) {
      // As a NIC does, until its endpoint is closed: it lands when the way is free again.
      network.schedule(network.now() + kRetransmitNs, [&network, flight] {
        if (!flight->completed) land(network, flight);
      });
    }
    return;
  }
  if (target == nullptr || target->state_ == State::kClosed) {
    fail_later(network, flight->from, sender->config().retry_ns,
               Status(Code::kRailFailed, "retries exceeded: the peer's endpoint is closed"));
    return;
  }
  const Put& put = flight->put;
  if (put.bytes != 0 &&
      target->rail_.target(put.remote_key, put.remote_offset, put.bytes) == nullptr) {
    const Status refused(Code::kRailFailed,
                         fmt::format("rail {}: a put of {} bytes outside of registered memory",
                                     target->rail_.info().name, put.bytes));
    target->fail(refused);
    fail_later(network, flight->from, sender->config().latency_ns, refused);
    return;
  }
  place(network, *flight, *target);
  acknowledge(network, flight, *target);
}

void SimEndpoint::place(SimNetwork& network, const Flight& flight, SimEndpoint& target) {
  const Put& put = flight.put;
  std::byte* to = nullptr;
  std::vector<std::byte> shown;
  if (put.bytes != 0 && network.copy_data()) {
    to = target.rail_.target(put.remote_key, put.remote_offset, put.bytes);
    const std::byte* from =
        flight.completed ? flight.data.data() : put.source->region().address + put.source_offset;
    if (put.notify && target.rail_.shows(put.remote_key)) {
      shown.resize(put.bytes);
      to = shown.data();
    }
    std::memmove(to, from, put.bytes);
    if (network.happens(network.rail(flight.from_rail)->port().corruption)) {
      to[network.random() % put.bytes] ^= std::byte{0x10};
    }
    if (SimObserver* observer = network.options_.observer) {
      observer->on_landing(
          {.from = flight.from, .to = target.id_, .address = to, .bytes = put.bytes});
    }
  }
  if (!put.notify) return;
  const int times = network.rail(flight.from_rail)->port().duplicate ? 2 : 1;
  for (int i = 0; i < times; ++i) {
    target.rail_.raise({.kind = RailEvent::Kind::kNotification,
                        .endpoint_tag = target.tag_,
                        .notification = put.notification,
                        .bytes = put.bytes,
                        .data = to},
                       shown);
  }
}

void SimEndpoint::acknowledge(SimNetwork& network, const FlightRef& flight,
                              const SimEndpoint& target) {
  SimRail* sender = network.rail(flight->from_rail);
  if (sender->port().lose_completions) {
    fail_later(network, flight->from, 0, Status(Code::kRailFailed, "a completion was lost"));
    return;
  }
  const bool heard =
      sender->port().lies() || network.carries(target.rail_.index(), flight->from_rail);
  if (!heard) {
    if (flight->completed) return;
    network.schedule(network.now() + kRetransmitNs, [&network, flight] {
      SimEndpoint* again = network.endpoint(flight->to);
      const bool stays = network.rail(flight->from_rail) != nullptr && again != nullptr;
      if (stays) acknowledge(network, flight, *again);
    });
    return;
  }
  network.schedule(network.now() + sender->config().latency_ns, [&network, flight] {
    if (SimEndpoint* self = network.endpoint(flight->from)) self->complete(flight, Status::ok());
  });
}

}  // namespace railccl
