#include "transport/ucx/ucx_endpoint.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/address_blob.h"

namespace railccl::ucx {
namespace {

Result<AddressBlob> parse_address(const std::vector<std::byte>& bytes, Version mine) {
  RAILCCL_ASSIGN(const AddressBlob blob, read_address_blob<AddressBlob>(bytes, "UCX"));
  if (blob.session == 0 || blob.worker_address_bytes == 0 ||
      blob.worker_address_bytes > kMaxWorkerAddressBytes) {
    return error(Code::kInvalidArgument, "the peer's address is damaged");
  }
  if (blob.ucx_major != mine.major || blob.ucx_minor != mine.minor) {
    return error(Code::kMismatch,
                 "the peer has UCX {}.{}, this side {}.{}: UCX promises no understanding between "
                 "versions; install the same on all hosts",
                 blob.ucx_major, blob.ucx_minor, mine.major, mine.minor);
  }
  return blob;
}

}  // namespace

Result<std::unique_ptr<UcxEndpoint>> UcxEndpoint::create(uint64_t tag,
                                                         const UcxRailOptions& options,
                                                         EndpointHost& host) {
  std::unique_ptr<UcxEndpoint> endpoint(new UcxEndpoint(tag, options, host));
  while (endpoint->session_ == 0) {
    randombytes_buf(&endpoint->session_, sizeof endpoint->session_);
  }
  RAILCCL_ASSIGN(endpoint->channel_,
                 Channel::create(host.context(), host.memory(), options, endpoint->session_));
  RAILCCL_ASSIGN(endpoint->worker_address_, endpoint->channel_->worker_address());
  if (endpoint->worker_address_.size() > kMaxWorkerAddressBytes) {
    return error(Code::kSystemError,
                 "UCX's address has {} bytes, at most {} fit: use fewer of its transports "
                 "(RAILCCL_UCX_TLS, for example rc)",
                 endpoint->worker_address_.size(), kMaxWorkerAddressBytes);
  }
  return endpoint;
}

UcxEndpoint::~UcxEndpoint() {
  dispose_channel();
  host_.on_destroyed(*this);
}

std::vector<std::byte> UcxEndpoint::address() const {
  AddressBlob blob{.ucx_major = host_.context().version().major,
                   .ucx_minor = host_.context().version().minor,
                   .session = session_,
                   .worker_address_bytes = static_cast<uint32_t>(worker_address_.size())};
  std::memcpy(blob.worker_address.data(), worker_address_.data(), worker_address_.size());
  const auto* bytes = reinterpret_cast<const std::byte*>(&blob);
  return {bytes, bytes + sizeof blob};
}

// --- Connecting ----------------------------------------------------------------------------------

Status UcxEndpoint::connect(const std::vector<std::byte>& peer_address) {
  if (state_ != State::kOpen) {
    return error(Code::kInvalidUsage, "rail {}: connect() was called before, or after close()",
                 host_.info().name);
  }
  RAILCCL_ASSIGN(const AddressBlob blob, parse_address(peer_address, host_.context().version()));
  if (blob.session == session_) {
    return error(Code::kInvalidArgument, "rail {}: an endpoint cannot connect to itself",
                 host_.info().name);
  }
  peer_session_ = blob.session;
  RAILCCL_TRY(channel_->connect(blob.worker_address.data(), peer_session_)
                  .with_context(fmt::format("rail {}", host_.info().name)));
  // Not before: a worker that answers a peer, which then gives up, aborts the process (1.13.1,
  // ucp_request.c:684, "got REP message").
  RAILCCL_TRY(host_.poller().add(channel_->fd(), EPOLLIN, *this));
  state_ = State::kConnecting;
  host_.want_ticks();
  host_.want_progress(*this);
  return Status::ok();
}

void UcxEndpoint::on_hello(uint64_t peer_session) {
  heard_from_ = peer_session;
  if (state_ == State::kConnecting && heard_from_ == peer_session_) start_service();
}

void UcxEndpoint::start_service() {
  state_ = State::kConnected;
  host_.raise({.kind = RailEvent::Kind::kConnected, .endpoint_tag = tag_});
}

// --- Puts ----------------------------------------------------------------------------------------

Status UcxEndpoint::check_put(const Put& put) const {
  if (put.bytes > host_.info().max_put_bytes) {
    return error(Code::kInvalidArgument, "rail {}: a put of {} bytes: at most {}",
                 host_.info().name, put.bytes, host_.info().max_put_bytes);
  }
  if (put.bytes == 0) return Status::ok();
  if (put.source == nullptr || !host_.memory().owns(put.source)) {
    return error(Code::kInvalidArgument, "the source of a put is not registered on rail {}",
                 host_.info().name);
  }
  const size_t size = put.source->region().bytes;
  if (put.source_offset > size || put.bytes > size - put.source_offset) {
    return error(Code::kInvalidArgument,
                 "rail {}: a put of {} bytes from offset {} of a registration of {} bytes",
                 host_.info().name, put.bytes, put.source_offset, size);
  }
  return Status::ok();
}

Status UcxEndpoint::put(const Put& put) {
  if (state_ != State::kConnected) {
    return reason_.is_ok()
               ? Status(error(Code::kInvalidUsage, "rail {}: the endpoint is not connected",
                              host_.info().name))
               : reason_;
  }
  RAILCCL_TRY(check_put(put));
  host_.want_progress(*this);
  return channel_->put(put).with_context(fmt::format("rail {}", host_.info().name));
}

void UcxEndpoint::complete(uint64_t token, size_t bytes, const Status& status) {
  host_.raise({.kind = RailEvent::Kind::kPutDone,
               .endpoint_tag = tag_,
               .token = token,
               .status = status,
               .bytes = bytes});
}

void UcxEndpoint::on_placed(const Happening& happening) {
  // The peer's hello has not come before its put; it had ours, or it would not have put.
  if (state_ == State::kConnecting) start_service();
  if (state_ != State::kConnected) return;
  channel_->owe_acknowledgement(happening.put.sequence);
  if ((happening.put.flags & kNotifyFlag) == 0) return;
  host_.raise({.kind = RailEvent::Kind::kNotification,
               .endpoint_tag = tag_,
               .notification = happening.put.notification,
               .bytes = happening.put.bytes,
               .data = happening.data});
}

// --- Progress ------------------------------------------------------------------------------------

bool UcxEndpoint::progress() {
  if (channel_ == nullptr) return false;
  happened_.clear();
  const bool did = channel_->progress(happened_);
  for (const Happening& happening : happened_) act_on(happening);
  if (state_ == State::kConnected) channel_->flush_acknowledgements();
  return did;
}

// Who hears of an event may have ended the endpoint: then only what is done still counts.
void UcxEndpoint::act_on(const Happening& happening) {
  switch (happening.kind) {
    case Happening::Kind::kHello:
      on_hello(happening.peer_session);
      break;
    case Happening::Kind::kPlaced:
      on_placed(happening);
      break;
    case Happening::Kind::kPutDone:
      complete(happening.token, happening.put.bytes, Status::ok());
      break;
    case Happening::Kind::kFarewell:
    case Happening::Kind::kBroken:
      fail(happening.status, false);
      break;
    case Happening::Kind::kRefused:
      fail(happening.status, true);
      break;
  }
}

void UcxEndpoint::on_registration_gone(uint64_t key) {
  if (channel_ != nullptr && channel_->is_receiving_into(key)) {
    fail(error(Code::kRailFailed,
               "a registration was destroyed while a put of the peer arrived in it"),
         false);
    dispose_channel();
  }
  if (std::ranges::find(targets_, key) != targets_.end()) disposed_.wait();
}

// --- Ending --------------------------------------------------------------------------------------

void UcxEndpoint::fail(const Status& reason, bool tell) {
  if (state_ == State::kEnding) farewell_until_ = 0;
  if (state_ != State::kConnecting && state_ != State::kConnected) return;
  end(reason.with_context(fmt::format("rail {}", host_.info().name)), tell);
}

void UcxEndpoint::close() {
  if (closing_) return;
  closing_ = true;
  if (state_ == State::kEnding) return;
  const bool tell = state_ == State::kConnected && !channel_->has_outgoing();
  end(reason_.is_ok() ? error(Code::kAborted, "rail {}: the endpoint was closed", host_.info().name)
                      : reason_,
      tell);
}

void UcxEndpoint::end(const Status& reason, bool tell) {
  state_ = State::kEnding;
  reason_ = reason;
  if (channel_ != nullptr) channel_->refuse();
  const bool told = tell && host_.port_up() &&
                    channel_->say_farewell(closing_ ? "its endpoint was closed" : reason.message());
  farewell_until_ = told ? host_.now() + options_.farewell_timeout_ns : 0;
  host_.want_ticks();
  host_.want_progress(*this);
}

void UcxEndpoint::tick() {
  if (state_ == State::kConnecting) {
    const TimeNs now = host_.now();
    if (connect_until_ == 0) connect_until_ = now + options_.connect_timeout_ns;
    if (now < connect_until_) return;
    fail(error(Code::kTimeout, "the peer's endpoint did not answer within {} ms",
               options_.connect_timeout_ns / kMillisecond),
         false);
  }
  if (state_ == State::kEnding) step_ending();
}

void UcxEndpoint::step_ending() {
  if (channel_ != nullptr) {
    if (host_.now() < farewell_until_ && !channel_->farewell_is_out()) return;
    dispose_channel();
  }
  if (is_done(disposed_)) finish();
}

void UcxEndpoint::dispose_channel() {
  if (channel_ == nullptr) return;
  host_.poller().remove(channel_->fd());
  lost_ = channel_->outgoing();
  targets_ = channel_->targets();
  disposed_ = slow_calls_.give([channel = std::move(channel_)]() mutable { channel.reset(); });
}

// Completes what was not done. The puts' memory is free from here on, and nothing lands any more.
void UcxEndpoint::finish() {
  for (const OutgoingPut& put : std::exchange(lost_, {})) {
    complete(put.token, put.header.bytes, reason_);
  }
  state_ = closing_ ? State::kClosed : State::kFailed;
  host_.raise({.kind = closing_ ? RailEvent::Kind::kClosed : RailEvent::Kind::kFailed,
               .endpoint_tag = tag_,
               .status = closing_ ? Status::ok() : reason_});
}

}  // namespace railccl::ucx
