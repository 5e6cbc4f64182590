#include "transport/verbs/verbs_endpoint.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "transport/address_blob.h"

namespace railccl::verbs {
namespace {

Result<AddressBlob> parse_address(const std::vector<std::byte>& bytes) {
  RAILCCL_ASSIGN(const AddressBlob blob, read_address_blob<AddressBlob>(bytes, "verbs"));
  if (blob.queue_pairs == 0 || blob.queue_pairs > kMaxQueuePairs || blob.nonce == 0 ||
      blob.receive_slots <= kReservedCredits || blob.mtu < IBV_MTU_256 || blob.mtu > IBV_MTU_4096) {
    return error(Code::kInvalidArgument, "the peer's address is damaged");
  }
  return blob;
}

Remote remote_of(const AddressBlob& blob, size_t pair) {
  return {.number = blob.numbers[pair],
          .first_packet = blob.first_packet,
          .receive_slots = blob.receive_slots,
          .gid = blob.gid,
          .lid = blob.lid,
          .mtu = static_cast<ibv_mtu>(blob.mtu)};
}

}  // namespace

Result<std::unique_ptr<VerbsEndpoint>> VerbsEndpoint::create(uint64_t tag, uint32_t id,
                                                             VerbsDevice& device,
                                                             const VerbsRailOptions& options,
                                                             EndpointHost& host) {
  std::unique_ptr<VerbsEndpoint> endpoint(new VerbsEndpoint(tag, id, device, options, host));
  RAILCCL_ASSIGN(endpoint->local_, host.local());
  endpoint->local_.first_packet = randombytes_uniform(1U << 24);
  while (endpoint->nonce_ == 0) randombytes_buf(&endpoint->nonce_, sizeof endpoint->nonce_);
  for (int i = 0; i < options.queue_pairs; ++i) {
    RAILCCL_ASSIGN(auto pair, QueuePair::create(device, options, id, static_cast<uint8_t>(i)));
    endpoint->pairs_.push_back(std::move(pair));
  }
  return endpoint;
}

VerbsEndpoint::~VerbsEndpoint() {
  if (is_starting()) starting_->cancel();
  host_.on_destroyed(*this);
}

std::vector<std::byte> VerbsEndpoint::address() const {
  AddressBlob blob{.ethernet = local_.ethernet ? uint8_t{1} : uint8_t{0},
                   .mtu = static_cast<uint8_t>(local_.mtu),
                   .gid = local_.gid.gid,
                   .lid = local_.lid,
                   .queue_pairs = static_cast<uint8_t>(pairs_.size()),
                   .receive_slots = pairs_[0]->receive_slots(),
                   .first_packet = local_.first_packet,
                   .nonce = nonce_};
  for (size_t i = 0; i < pairs_.size(); ++i) blob.numbers[i] = pairs_[i]->number();
  std::vector<std::byte> bytes(sizeof blob);
  std::memcpy(bytes.data(), &blob, sizeof blob);
  return bytes;
}

// --- Connecting ----------------------------------------------------------------------------------

Status VerbsEndpoint::connect(const std::vector<std::byte>& peer_address) {
  if (state_ != State::kOpen) {
    return error(Code::kInvalidUsage, "rail {}: the endpoint has its peer", host_.info().name);
  }
  RAILCCL_ASSIGN(peer_, parse_address(peer_address));
  if ((peer_.ethernet != 0) != local_.ethernet) {
    return error(Code::kMismatch, "rail {} is {}, the peer's rail is not", host_.info().name,
                 local_.ethernet ? "RoCE" : "InfiniBand");
  }
  used_pairs_ = std::min(pairs_.size(), size_t{peer_.queue_pairs});
  start_queue_pairs();
  state_ = State::kConnecting;
  host_.want_ticks();
  return Status::ok();
}

void VerbsEndpoint::start_queue_pairs() {
  std::vector<QueuePairStart> plans;
  for (size_t i = 0; i < used_pairs_; ++i) {
    plans.push_back(pairs_[i]->plan_start(local_, remote_of(peer_, i)));
  }
  stopped_ = restarting_ = false;
  starting_ = std::make_shared<Starting>(std::move(plans));
  for (size_t i = 0; i < used_pairs_; ++i) pairs_[i]->start_by(starting_);
  started_ = device_.starts().give([starting = starting_] { return starting->run(); });
}

bool VerbsEndpoint::finish_start() {
  if (!is_done(started_)) return false;
  const std::vector<Started> all = started_.get();
  Status status;
  for (size_t i = 0; i < all.size(); ++i) {
    pairs_[i]->on_started(all[i]);
    if (!all[i].status.is_ok()) status = all[i].status;
  }
  if (state_ != State::kConnecting) {
    stop_queue_pairs();
  } else if (!status.is_ok()) {
    fail(status.with_context(fmt::format("rail {}", host_.info().name)));
  } else if (nonce_ < peer_.nonce) {
    say_hello();
  }
  for (const auto& [id, completion] : std::exchange(early_, {})) {
    on_completion_of(*pairs_[id.queue_pair], id, completion);
  }
  return true;
}

// A hello that cannot be posted shows as the connect timeout.
void VerbsEndpoint::say_hello() {
  (void)pairs_[0]->send(MessageKind::kHello, {nonce_, peer_.nonce});
}

void VerbsEndpoint::on_hello(const Message& message) {
  if (state_ != State::kConnecting || restarting_) return;
  if (message.words[0] != peer_.nonce || message.words[1] != nonce_) {
    fail(error(Code::kPeerFailed, "rail {}: another endpoint than the peer's answers",
               host_.info().name));
    return;
  }
  if (nonce_ > peer_.nonce) say_hello();
  start_service();
}

void VerbsEndpoint::start_service() {
  state_ = State::kConnected;
  host_.raise({.kind = RailEvent::Kind::kConnected, .endpoint_tag = tag_});
}

// The peer was not there yet when the NIC gave up.
bool VerbsEndpoint::restart_after(const ibv_wc& completion) {
  if (state_ != State::kConnecting) return false;
  if (!restarting_ && completion.status != IBV_WC_RETRY_EXC_ERR) return false;
  restarting_ = true;
  if (!stopped_) stop_queue_pairs();
  return true;
}

// --- Sending -------------------------------------------------------------------------------------

Status VerbsEndpoint::check_put(const Put& put) const {
  if (put.bytes > host_.info().max_put_bytes) {
    return error(Code::kInvalidArgument, "rail {}: a put of {} bytes: at most {}",
                 host_.info().name, put.bytes, host_.info().max_put_bytes);
  }
  if (put.bytes == 0) return Status::ok();
  const size_t have = put.source == nullptr ? 0 : put.source->region().bytes;
  if (put.source_offset > have || put.bytes > have - put.source_offset) {
    return error(Code::kInvalidArgument,
                 "rail {}: a put of {} bytes from offset {} of a registration of {} bytes",
                 host_.info().name, put.bytes, put.source_offset, have);
  }
  return Status::ok();
}

Status VerbsEndpoint::put(const Put& put) {
  if (state_ != State::kConnected) {
    return reason_.is_ok()
               ? Status(error(Code::kRailFailed, "rail {}: the endpoint is not connected",
                              host_.info().name))
               : reason_;
  }
  RAILCCL_TRY(check_put(put));
  Status status;
  for (size_t tried = 0; tried < used_pairs_; ++tried) {
    QueuePair& pair = *pairs_[next_pair_];
    next_pair_ = (next_pair_ + 1) % used_pairs_;
    status = pair.put(put);
    if (status.code() != Code::kBackPressure) break;
  }
  return status.with_context(host_.info().name);
}

void VerbsEndpoint::complete(QueuePair& pair, uint64_t token, const Status& status) {
  pair.count_put_done();
  host_.raise(
      {.kind = RailEvent::Kind::kPutDone, .endpoint_tag = tag_, .token = token, .status = status});
}

// --- Completions ---------------------------------------------------------------------------------

void VerbsEndpoint::on_completion(const WorkId& id, const ibv_wc& completion) {
  if (state_ == State::kClosed || letting_go_ || id.queue_pair >= pairs_.size()) return;
  if (is_starting() && !finish_start()) {
    early_.emplace_back(id, completion);
  } else {
    on_completion_of(*pairs_[id.queue_pair], id, completion);
  }
}

void VerbsEndpoint::on_completion_of(QueuePair& pair, const WorkId& id, const ibv_wc& completion) {
  if (id.receive) {
    on_receive_done(pair, id.sequence, completion);
  } else if (pair.sends().contains(id.sequence)) {
    on_send_done(pair, id.sequence, completion);
  }
  if (state_ != State::kConnected) return;
  if (const Status status = pair.return_credits(); !status.is_ok()) fail(status);
}

void VerbsEndpoint::on_send_done(QueuePair& pair, uint32_t sequence, const ibv_wc& completion) {
  const bool ok = completion.status == IBV_WC_SUCCESS;
  // What was posted before has gone well, or it would have said so itself.
  while (pair.sends().first() != sequence) {
    const Work before = pair.sends().front();
    pair.sends().pop();
    if (before.kind == WorkKind::kPut) complete(pair, before.token, Status::ok());
  }
  const Work work = pair.sends().front();
  pair.sends().pop();
  if (ok) {
    if (work.kind == WorkKind::kPut) complete(pair, work.token, Status::ok());
    if (work.farewell) farewell_until_ = 0;
    if (work.farewell && !refusal_.is_ok()) fail(refusal_);
    return;
  }
  if (restart_after(completion)) return;
  const Status status = error(Code::kRailFailed, "rail {} to {}: {} (vendor code {:#x})",
                              host_.info().name, gid_text(peer_.gid),
                              host_.api().wc_status_str(completion.status), completion.vendor_err);
  const bool put = work.kind == WorkKind::kData || work.kind == WorkKind::kPut;
  if (work.kind == WorkKind::kData) pair.sends().front().kind = WorkKind::kForgotten;
  if (put) complete(pair, work.token, reason_.is_ok() ? status : reason_);
  fail(status);
}

void VerbsEndpoint::on_receive_done(QueuePair& pair, uint32_t slot, const ibv_wc& completion) {
  if (completion.status != IBV_WC_SUCCESS) {
    pair.count_receive_lost();
    if (restart_after(completion)) return;
    fail(error(Code::kRailFailed,
               "rail {} from {}: {}: the connection broke, or the peer put outside of registered "
               "memory",
               host_.info().name, gid_text(peer_.gid),
               host_.api().wc_status_str(completion.status)));
    return;
  }
  const auto end = [this](const Status& status) {
    fail(status.with_context(fmt::format("rail {}", host_.info().name)));
  };
  const Result<Message> message = pair.take(slot, completion.byte_len);
  if (!message) return end(message.error());
  std::byte* const data = message->bytes == 0
                              ? nullptr
                              : host_.find_data(message->key, message->offset, message->bytes);
  const std::span<const std::byte> carried = pair.carried(slot, completion.byte_len);
  if (!carried.empty() && (data == nullptr || message->bytes != carried.size())) {
    return refuse(error(Code::kRailFailed,
                        "rail {} from {}: the peer put outside of registered memory",
                        host_.info().name, gid_text(peer_.gid)));
  }
  if (!carried.empty()) std::memcpy(data, carried.data(), carried.size());
  if (!stopped_) {
    if (const Status status = pair.give_back(slot); !status) return end(status);
  }
  on_message(*message, data);
}

// The NIC has acknowledged what is refused: the peer has to be told, or it would not know.
void VerbsEndpoint::refuse(const Status& reason) {
  if (!refusal_.is_ok()) return;
  refusal_ = reason;
  const bool can_tell = state_ == State::kConnected;
  if (!can_tell || !pairs_[0]->send(MessageKind::kFarewell, {}).value_or(false)) {
    fail(reason);
    return;
  }
  farewell_until_ = host_.now() + options_.farewell_timeout_ns;
  host_.want_ticks();
}

void VerbsEndpoint::on_message(const Message& message, const std::byte* data) {
  switch (message.kind) {
    case MessageKind::kHello:
      on_hello(message);
      break;
    case MessageKind::kNotification:
      // On another queue pair than its hello, which it overtook: the peer had ours.
      if (state_ == State::kConnecting && !restarting_) start_service();
      host_.raise({.kind = RailEvent::Kind::kNotification,
                   .endpoint_tag = tag_,
                   .notification = message.words,
                   .bytes = message.bytes,
                   .data = data});
      break;
    case MessageKind::kCredits:
      break;
    case MessageKind::kFarewell:
      fail(error(Code::kPeerFailed, "rail {}: the peer closed the connection", host_.info().name));
      break;
  }
}

void VerbsEndpoint::on_queue_pair_event(const char* what) {
  fail(error(Code::kRailFailed, "rail {} to {}: {}", host_.info().name, gid_text(peer_.gid), what));
}

void VerbsEndpoint::on_moved(const char* what) {
  fail(error(Code::kRailFailed, "rail {}: {}: its GID {} is gone", host_.info().name, what,
             gid_text(local_.gid.gid)));
}

// --- Ending --------------------------------------------------------------------------------------

void VerbsEndpoint::stop_queue_pairs() {
  if (is_starting()) {
    if (!starting_->cancel()) return;  // until it is done
    started_ = {};
    for (size_t i = 0; i < used_pairs_; ++i) pairs_[i]->on_started({});
  }
  stopped_ = true;
  for (size_t i = 0; i < used_pairs_; ++i) pairs_[i]->stop();
}

void VerbsEndpoint::fail(const Status& reason) {
  if (state_ == State::kClosing) farewell_until_ = 0;
  if (state_ != State::kConnecting && state_ != State::kConnected) return;
  state_ = State::kFailed;
  restarting_ = false;
  reason_ = reason;
  if (!stopped_) stop_queue_pairs();
  host_.raise({.kind = RailEvent::Kind::kFailed, .endpoint_tag = tag_, .status = reason});
}

void VerbsEndpoint::close() {
  if (state_ == State::kClosing || state_ == State::kClosed) return;
  // Messages of our own may be on their way; the farewell follows them.
  const bool idle = std::all_of(pairs_.begin(), pairs_.end(),
                                [](const auto& pair) { return pair->puts_in_flight() == 0; });
  if (state_ == State::kConnected && idle && host_.port_up()) {
    const auto sent = pairs_[0]->send(MessageKind::kFarewell, {});
    saying_farewell_ = sent.value_or(false);
  }
  if (reason_.is_ok()) {
    reason_ = error(Code::kAborted, "rail {}: the endpoint was closed", host_.info().name);
  }
  restarting_ = false;
  state_ = State::kClosing;
  farewell_until_ = saying_farewell_ ? host_.now() + options_.farewell_timeout_ns : 0;
  if (!saying_farewell_ && !stopped_) stop_queue_pairs();
  drain_until_ = 0;
  host_.want_ticks();
}

bool VerbsEndpoint::drained() const {
  return std::all_of(pairs_.begin(), pairs_.end(),
                     [](const auto& pair) { return pair->drained(); });
}

bool VerbsEndpoint::wants_ticks() const {
  return state_ == State::kConnecting || state_ == State::kClosing ||
         (state_ == State::kConnected && !refusal_.is_ok());
}

void VerbsEndpoint::tick() {
  const TimeNs now = host_.now();
  if (is_starting() && !finish_start()) return;
  if (state_ == State::kConnected) {
    if (!refusal_.is_ok() && now >= farewell_until_) fail(refusal_);
    return;
  }
  if (state_ == State::kConnecting) {
    if (connect_until_ == 0) connect_until_ = now + options_.connect_timeout_ns;
    if (now >= connect_until_) {
      fail(error(Code::kTimeout,
                 "rail {} at {}: the peer's endpoint at {} does not answer: are the two on one "
                 "network?",
                 host_.info().name, gid_text(local_.gid.gid), gid_text(peer_.gid)));
    } else if (restarting_ && drained()) {
      start_queue_pairs();
    }
    return;
  }
  if (state_ != State::kClosing || now < farewell_until_) return;
  farewell_until_ = 0;
  if (!stopped_) stop_queue_pairs();
  if (drain_until_ == 0) drain_until_ = now + options_.drain_timeout_ns;
  if (drained() || let_go(now)) finish_close();
}

// What the NIC did not give back in time has no more to come when its queue pair is gone.
bool VerbsEndpoint::let_go(TimeNs now) {
  if (now < drain_until_) return false;
  letting_go_ = true;
  for (const auto& pair : pairs_) pair->destroy();
  return std::ranges::all_of(pairs_, [](const auto& pair) { return pair->destroyed(); });
}

void VerbsEndpoint::finish_close() {
  for (const auto& pair : pairs_) pair->destroy();
  for (const auto& pair : pairs_) {
    SendWindow& sends = pair->sends();
    for (; sends.in_flight() != 0; sends.pop()) {
      const Work work = sends.front();
      if (work.kind == WorkKind::kPut) complete(*pair, work.token, reason_);
    }
  }
  state_ = State::kClosed;
  host_.raise({.kind = RailEvent::Kind::kClosed, .endpoint_tag = tag_});
}

}  // namespace railccl::verbs
