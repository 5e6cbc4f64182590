#include "transport/tcp/tcp_endpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/address_blob.h"
#include "transport/tcp/socket.h"

namespace railccl::tcp {
namespace {

// Per lane and call of progress: long enough to amortize a system call, short enough to be fair.
constexpr size_t kReceiveBudget = 512 * 1024;
constexpr size_t kSendBudget = 512 * 1024;
// Small puts that come with no answer to any of them are acknowledged in groups of so many.
constexpr size_t kSmallPutsPerAcknowledgement = 8;

SendLane::Limits limits(const TcpRailOptions& options) {
  return {options.max_queued_bytes, options.max_outstanding_puts};
}

Result<AddressBlob> parse_address(const std::vector<std::byte>& bytes) {
  RAILCCL_ASSIGN(const AddressBlob blob, read_address_blob<AddressBlob>(bytes, "TCP"));
  if ((blob.ip_version != 4 && blob.ip_version != 6) || blob.port == 0 || blob.endpoint_id == 0) {
    return error(Code::kInvalidArgument, "the peer's address is damaged");
  }
  return blob;
}

}  // namespace

TcpEndpoint::TcpEndpoint(uint64_t tag, const net::SocketAddress& listening_at, RailCore& core,
                         EndpointDirectory& directory)
    : core_(core),
      directory_(directory),
      tag_(tag),
      listening_at_(listening_at),
      self_{.endpoint_id = random_id(), .secret = random_secret()},
      lanes_{TcpLane(LaneId::kSmall, limits(core.options()), *this, core),
             TcpLane(LaneId::kBulk, limits(core.options()), *this, core)} {}

TcpEndpoint::~TcpEndpoint() {
  core_.forget(*this);
  directory_.on_destroyed(*this);
}

std::vector<std::byte> TcpEndpoint::address() const {
  const AddressBlob blob{.ip_version = listening_at_.family() == AF_INET6 ? uint8_t{6} : uint8_t{4},
                         .ip = listening_at_.ip(),
                         .port = listening_at_.port(),
                         .endpoint_id = self_.endpoint_id,
                         .secret = self_.secret};
  const auto* bytes = reinterpret_cast<const std::byte*>(&blob);
  return {bytes, bytes + sizeof blob};
}

Status TcpEndpoint::connect(const std::vector<std::byte>& peer_address) {
  if (state_ != State::kOpen) {
    return error(Code::kInvalidUsage, "rail {}: connect() was called before, or after close()",
                 core_.config().info.name);
  }
  RAILCCL_ASSIGN(const AddressBlob blob, parse_address(peer_address));
  const int family = blob.ip_version == 6 ? AF_INET6 : AF_INET;
  peer_address_ = net::make_socket_address(family, blob.ip, blob.port);
  if (family != listening_at_.family()) {
    return error(Code::kInvalidUsage,
                 "rail {} has the address {}, the peer's rail {}: both must be IPv4 or both IPv6 "
                 "(RAILCCL_SOCKET_FAMILY)",
                 core_.config().info.name, listening_at_.ip_text(), peer_address_.ip_text());
  }
  if (blob.endpoint_id == self_.endpoint_id) {
    return error(Code::kInvalidArgument, "rail {}: an endpoint cannot connect to itself",
                 core_.config().info.name);
  }
  peer_ = Identity{.endpoint_id = blob.endpoint_id, .secret = blob.secret};
  key_ = session_key(self_, peer_);
  state_ = State::kConnecting;
  if (self_.endpoint_id < peer_.endpoint_id) {
    for (const LaneId id : {LaneId::kSmall, LaneId::kBulk}) {
      dialers_[lane_index(id)].emplace(Dialer::Target{.lane = id,
                                                      .peer = peer_address_,
                                                      .self_id = self_.endpoint_id,
                                                      .peer_id = peer_.endpoint_id,
                                                      .key = key_},
                                       core_.config(), core_.options(), core_.poller(), *this);
    }
  }
  directory_.on_expectation_changed(id());
  return Status::ok();
}

Expectation TcpEndpoint::expectation() const {
  if (state_ == State::kOpen) return {.state = Expectation::State::kLater};
  if (state_ != State::kConnecting || self_.endpoint_id < peer_.endpoint_id) return {};
  return {.state = Expectation::State::kNow, .peer_id = peer_.endpoint_id, .key = key_};
}

void TcpEndpoint::tick(TimeNs now) {
  if (state_ != State::kConnecting) return;
  if (connect_deadline_ == 0) connect_deadline_ = now + core_.options().connect_timeout_ns;
  if (now >= connect_deadline_) return fail(timeout_reason());
  for (auto& dialer : dialers_) {
    if (dialer) dialer->tick(now);
  }
}

Status TcpEndpoint::timeout_reason() const {
  const auto waited_ms = core_.options().connect_timeout_ns / kMillisecond;
  for (const auto& dialer : dialers_) {
    if (dialer && !dialer->last_error()) {
      return error(Code::kTimeout, "no connection within {} ms; the last attempt: {}", waited_ms,
                   dialer->last_error().message());
    }
  }
  return error(Code::kTimeout, "no connection within {} ms; {}", waited_ms,
               dialers_[0] ? "nothing answered" : "the peer, whose turn it is to dial, did not");
}

void TcpEndpoint::on_lane_ready(LaneId id, UniqueFd fd) {
  if (state_ != State::kConnecting || lane(id).is_open()) {
    reset_and_close(fd);
    return;
  }
  lane(id).adopt(std::move(fd));
  if (!std::ranges::all_of(lanes_, [](const TcpLane& one) { return one.is_open(); })) return;
  for (TcpLane& one : lanes_) {
    if (Status watched = one.watch(); !watched) return fail(watched);
  }
  state_ = State::kConnected;
  core_.raise({.kind = RailEvent::Kind::kConnected, .endpoint_tag = tag_});
}

Status TcpEndpoint::check_put(const Put& put) const {
  if (state_ == State::kFailed) return reason_;
  if (state_ != State::kConnected) {
    return error(Code::kInvalidUsage, "rail {}: put() on an endpoint that is not connected",
                 core_.config().info.name);
  }
  if (put.bytes == 0) return Status::ok();
  if (put.bytes > kMaxPutBytes) {
    return error(Code::kInvalidArgument, "a put of {} bytes; a TCP rail takes at most {}",
                 put.bytes, kMaxPutBytes);
  }
  if (put.source == nullptr || !core_.memory().owns(put.source)) {
    return error(Code::kInvalidArgument, "the source of a put is not registered on rail {}",
                 core_.config().info.name);
  }
  const size_t size = put.source->region().bytes;
  if (put.source_offset > size || put.bytes > size - put.source_offset) {
    return error(Code::kInvalidArgument,
                 "a put of {} bytes at {} is outside its source of {} bytes", put.bytes,
                 put.source_offset, size);
  }
  return Status::ok();
}

Status TcpEndpoint::put(const Put& put) {
  RAILCCL_TRY(check_put(put));
  const bool small = put.bytes <= core_.options().small_put_bytes;
  TcpLane& to = lane(small ? LaneId::kSmall : LaneId::kBulk);
  if (!to.outgoing().accepts(put.bytes)) return Status::back_pressure();
  const bool empty = put.bytes == 0;
  to.outgoing().push({.header = {.flags = put.notify ? kNotifyFlag : 0,
                                 .bytes = put.bytes,
                                 .key = empty ? 0 : put.remote_key,
                                 .offset = empty ? 0 : put.remote_offset,
                                 .notification = put.notification},
                      .payload = empty ? nullptr : put.source->region().address + put.source_offset,
                      .token = put.token});
  if (!to.is_blocked()) core_.want_flush(*this);
  return Status::ok();
}

bool TcpEndpoint::flush(LaneId id) {
  TcpLane& to = lane(id);
  if (state_ != State::kConnected || to.is_blocked()) return false;
  if (id == LaneId::kSmall && (to.outgoing().has_work() || core_.must_acknowledge(*this))) {
    acknowledge(to);
  }
  Result<bool> more = to.flush(kSendBudget);
  if (!more) fail(more.error());
  return more && *more;
}

// What is owed leaves with the flush that follows.
void TcpEndpoint::acknowledge(TcpLane& small) {
  if (std::exchange(owes_, false)) {
    const TimeNs held = core_.now() - small_placed_at_;
    placed_.held_ns = static_cast<uint32_t>(std::min<TimeNs>(held, kMaxHeldNs));
    small.outgoing().owe_acknowledgement(placed_);
  }
  small_unacknowledged_ = 0;
  core_.acknowledged(*this);
}

void TcpEndpoint::on_lane_writable(LaneId /*lane*/) { core_.want_flush(*this); }

bool TcpEndpoint::on_lane_readable(LaneId id) {
  if (state_ != State::kConnected) return false;
  // What follows a bulk payload in the stream must not be read past the next header: it belongs to
  // its own place.
  const auto staging = core_.staging();
  const auto scratch = id == LaneId::kBulk ? staging.first(sizeof(PutHeader)) : staging;
  const auto outcome = lane(id).receive(scratch, kReceiveBudget);
  if (!outcome) fail(outcome.error());
  return !outcome || *outcome != ReceiveLane::Outcome::kNothing;
}

Result<MemoryTable::Place> TcpEndpoint::locate_put(const PutHeader& header) {
  if ((header.flags & ~kNotifyFlag) != 0 || header.bytes > kMaxPutBytes) {
    return error(Code::kRailFailed, "a put's header is damaged: flags {:#x}, {} bytes",
                 header.flags, header.bytes);
  }
  if (header.bytes == 0) return MemoryTable::Place{};
  return core_.memory().locate(header.key, header.offset, header.bytes);
}

void TcpEndpoint::on_put_here(LaneId id, const PutHeader& header, const std::byte* data) {
  ++placed_.placed[lane_index(id)];
  owes_ = true;
  const bool small = id == LaneId::kSmall;
  if (small) small_placed_at_ = core_.now();
  if (small) ++small_unacknowledged_;
  const bool soon = !small || small_unacknowledged_ >= kSmallPutsPerAcknowledgement;
  if (!lane(LaneId::kSmall).is_blocked()) core_.want_acknowledge(*this, soon);
  if ((header.flags & kNotifyFlag) == 0) return;
  core_.raise({.kind = RailEvent::Kind::kNotification,
               .endpoint_tag = tag_,
               .notification = header.notification,
               .bytes = header.bytes,
               .data = data});
}

Status TcpEndpoint::on_acknowledgement(const AckFrame& ack) {
  for (const LaneId id : {LaneId::kSmall, LaneId::kBulk}) {
    if (!lane(id).outgoing().acknowledge(ack.placed[lane_index(id)])) {
      return error(Code::kRailFailed, "the peer acknowledged puts that were not sent");
    }
  }
  for (TcpLane& one : lanes_) {
    // A reaction to the event may end the endpoint; report() has the rest then.
    while (state_ == State::kConnected && one.outgoing().has_acknowledged()) {
      const OutgoingPut done = one.outgoing().take_acknowledged();
      const bool bulk = &one == &lane(LaneId::kBulk);
      const bool newest = !one.outgoing().has_acknowledged();
      raise_done(done, bulk ? 0 : newest ? TimeNs{ack.held_ns} : kNever);
    }
  }
  return Status::ok();
}

void TcpEndpoint::raise_done(const OutgoingPut& put, TimeNs held_back) {
  core_.raise({.kind = RailEvent::Kind::kPutDone,
               .endpoint_tag = tag_,
               .token = put.token,
               .bytes = put.header.bytes,
               .held_back = held_back});
}

Status TcpEndpoint::on_farewell(const FarewellFrame& farewell) {
  const size_t size = std::min<size_t>(farewell.text_bytes, farewell.text.size());
  std::string text(farewell.text.data(), size);
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  return error(Code::kRailFailed, "the peer ended the connection: {}", text);
}

void TcpEndpoint::on_registration_gone(uint64_t key) {
  const auto placing = [key](const TcpLane& one) { return one.incoming().is_placing_into(key); };
  if (state_ == State::kConnected && std::ranges::any_of(lanes_, placing)) {
    fail(error(Code::kRailFailed,
               "a registration was destroyed while a put of the peer arrived in it"));
  }
}

void TcpEndpoint::fail(const Status& reason) {
  if (state_ == State::kFailed || state_ == State::kClosed) return;
  const Status named = reason.with_context(
      fmt::format("rail {} to {}", core_.config().info.name, peer_address_.to_string()));
  const bool known = named.code() == Code::kTimeout || named.code() == Code::kRailFailed ||
                     named.code() == Code::kPeerFailed;
  end(State::kFailed, known ? named : Status(Code::kRailFailed, std::string(named.message())),
      reason.message());
}

void TcpEndpoint::close() {
  if (state_ == State::kClosed) return;
  const Status reason =
      state_ == State::kFailed
          ? reason_
          : error(Code::kAborted, "rail {}: the endpoint was closed", core_.config().info.name);
  end(State::kClosed, reason, "its endpoint was closed");
}

void TcpEndpoint::end(State state, Status reason, std::string_view farewell) {
  if (state_ == State::kConnected) lane(LaneId::kSmall).say_farewell(farewell);
  state_ = state;
  reason_ = std::move(reason);
  for (auto& dialer : dialers_) {
    if (dialer) dialer->stop();
  }
  for (TcpLane& one : lanes_) one.close();
  directory_.on_expectation_changed(id());
  core_.want_report(*this);
}

void TcpEndpoint::report() {
  for (TcpLane& one : lanes_) {
    while (one.outgoing().has_outstanding()) {
      const OutgoingPut put = one.outgoing().take_outstanding();
      core_.raise({.kind = RailEvent::Kind::kPutDone,
                   .endpoint_tag = tag_,
                   .token = put.token,
                   .status = reason_,
                   .bytes = put.header.bytes});
    }
  }
  if (state_ == State::kFailed && !failure_reported_) {
    failure_reported_ = true;
    core_.raise({.kind = RailEvent::Kind::kFailed, .endpoint_tag = tag_, .status = reason_});
  }
  if (state_ == State::kClosed && !close_reported_) {
    close_reported_ = true;
    core_.raise({.kind = RailEvent::Kind::kClosed, .endpoint_tag = tag_});
  }
}

}  // namespace railccl::tcp
