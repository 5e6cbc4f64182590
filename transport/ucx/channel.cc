#include "transport/ucx/channel.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace railccl::ucx {
namespace {

constexpr int kMostRounds = 16;         // of UCX in one call of progress
constexpr size_t kMostReceives = 4096;  // of one peer at a time, and acknowledgements owed
constexpr TimeNs kDrainPause = kMillisecond;

}  // namespace

Channel::Channel(const UcxContext& context, const MemoryTable& memory,
                 const UcxRailOptions& options, uint64_t session)
    : context_(context),
      memory_(memory),
      options_(options),
      session_(session),
      outgoing_({.puts = options.max_outstanding_puts, .bytes = options.max_queued_bytes}),
      hello_request_{.channel = this, .kind = Request::Kind::kHello},
      ack_request_{.channel = this, .kind = Request::Kind::kAck},
      farewell_request_{.channel = this, .kind = Request::Kind::kFarewell},
      flush_request_{.channel = this, .kind = Request::Kind::kFlush} {
  for (uint32_t slot = 0; slot < options.max_outstanding_puts; ++slot) {
    put_requests_.push_back({.channel = this, .kind = Request::Kind::kPut, .slot = slot});
  }
}

// What UCX has not given back by now has no more to come: its worker is gone.
Channel::~Channel() {
  refuse();
  cancel();
  for (TimeNs waited = 0; in_flight_ != 0 && waited < options_.drain_timeout_ns;) {
    if (api().worker_progress(worker_.get()) != 0) continue;
    std::this_thread::sleep_for(std::chrono::nanoseconds(kDrainPause));
    waited += kDrainPause;
  }
  worker_.reset();
}

Result<std::unique_ptr<Channel>> Channel::create(const UcxContext& context,
                                                 const MemoryTable& memory,
                                                 const UcxRailOptions& options, uint64_t session) {
  RAILCCL_ASSIGN(Worker worker, context.create_worker());
  std::unique_ptr<Channel> channel(new Channel(context, memory, options, session));
  channel->worker_ = std::move(worker);
  const auto status = context.api().worker_get_efd(channel->worker_.get(), &channel->fd_);
  if (status != UCS_OK) {
    return Error(context.failure(status, "UCX has no descriptor to wait on (ucp_worker_get_efd)"));
  }
  RAILCCL_TRY(channel->set_handlers());
  return channel;
}

template <ucs_status_t (Channel::*on_message)(const void*, size_t, void*, size_t, bool)>
Status Channel::set_handler(MessageKind kind) {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                     UCP_AM_HANDLER_PARAM_FIELD_ARG;
  param.id = static_cast<unsigned>(kind);
  param.arg = this;
  param.cb = [](void* self, const void* header, size_t size, void* data, size_t bytes,
                const ucp_am_recv_param_t* received) {
    const bool rendezvous = (received->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    return (static_cast<Channel*>(self)->*on_message)(header, size, data, bytes, rendezvous);
  };
  const auto status = api().worker_set_am_recv_handler(worker_.get(), &param);
  if (status == UCS_OK) return Status::ok();
  return context_.failure(status, "ucp_worker_set_am_recv_handler");
}

Status Channel::set_handlers() {
  RAILCCL_TRY(set_handler<&Channel::on_hello>(MessageKind::kHello));
  RAILCCL_TRY(set_handler<&Channel::on_put>(MessageKind::kPut));
  RAILCCL_TRY(set_handler<&Channel::on_ack>(MessageKind::kAck));
  return set_handler<&Channel::on_farewell>(MessageKind::kFarewell);
}

Result<std::vector<std::byte>> Channel::worker_address() const {
  ucp_worker_attr_t attributes{};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_ADDRESS | UCP_WORKER_ATTR_FIELD_ADDRESS_FLAGS;
  attributes.address_flags = UCP_WORKER_ADDRESS_FLAG_NET_ONLY;
  const auto status = api().worker_query(worker_.get(), &attributes);
  if (status != UCS_OK) return Error(context_.failure(status, "ucp_worker_query"));
  const auto* bytes = reinterpret_cast<const std::byte*>(attributes.address);
  std::vector<std::byte> address(bytes, bytes + attributes.address_length);
  api().worker_release_address(worker_.get(), attributes.address);
  return address;
}

Status Channel::connect(const std::byte* worker_address, uint64_t peer_session) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(worker_address);
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {.cb = &Channel::on_broken, .arg = this};
  const auto status = api().ep_create(worker_.get(), &params, &endpoint_);
  if (status != UCS_OK) return context_.failure(status, "ucp_ep_create");
  peer_session_ = peer_session;
  hello_ = {.session = peer_session, .sender_session = session_};
  return send(MessageKind::kHello, &hello_, sizeof hello_, hello_request_);
}

// --- Sending -------------------------------------------------------------------------------------

Status Channel::send(MessageKind kind, const void* header, size_t header_bytes, Request& request,
                     const std::byte* data, size_t bytes, ucp_mem_h memory) {
  ucp_request_param_t params{};
  params.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  params.cb.send = &Channel::on_request_done;
  params.user_data = &request;
  params.flags =
      bytes >= options_.rendezvous_bytes ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER;
  if (memory != nullptr) {
    params.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    params.memh = memory;
  }
  ++in_flight_;
  ucs_status_ptr_t result = api().am_send_nbx(endpoint_, static_cast<unsigned>(kind), header,
                                              header_bytes, data, bytes, &params);
  if (UCS_PTR_IS_PTR(result)) return Status::ok();
  if (result == nullptr) {
    on_done(request, UCS_OK);
    return Status::ok();
  }
  --in_flight_;
  return context_.failure(UCS_PTR_STATUS(result), "ucp_am_send_nbx");
}

Status Channel::put(const Put& put) {
  if (endpoint_ == nullptr || !outgoing_.accepts(put.bytes)) {
    return Status::back_pressure();
  }
  const bool empty = put.bytes == 0;
  const OutgoingPut& queued = outgoing_.push({.session = peer_session_,
                                              .flags = put.notify ? kNotifyFlag : 0,
                                              .bytes = put.bytes,
                                              .key = empty ? 0 : put.remote_key,
                                              .offset = empty ? 0 : put.remote_offset,
                                              .notification = put.notification},
                                             put.token);
  const uint32_t slot = queued.header.sequence;
  const auto* source = static_cast<const UcxRegistration*>(put.source);
  Status status = send(MessageKind::kPut, &queued.header, sizeof queued.header, put_requests_[slot],
                       empty ? nullptr : source->region().address + put.source_offset, put.bytes,
                       empty ? nullptr : source->handle());
  if (!status) outgoing_.forget(slot);
  return status;
}

void Channel::flush_acknowledgements() {
  if (owed_.empty() || ack_busy_ || endpoint_ == nullptr || !receiving_) return;
  const size_t count = std::min(owed_.size(), ack_.sequences.size());
  std::copy_n(owed_.begin(), count, ack_.sequences.begin());
  owed_.erase(owed_.begin(), owed_.begin() + static_cast<ptrdiff_t>(count));
  ack_.session = peer_session_;
  ack_.count = static_cast<uint32_t>(count);
  ack_busy_ = true;
  const size_t size = offsetof(Ack, sequences) + count * sizeof ack_.sequences[0];
  Status status = send(MessageKind::kAck, &ack_, size, ack_request_);
  if (!status) note({.kind = Happening::Kind::kBroken, .status = std::move(status)});
}

bool Channel::say_farewell(std::string_view text) {
  if (endpoint_ == nullptr) return false;
  farewell_.session = peer_session_;
  farewell_.text_bytes = static_cast<uint32_t>(std::min(text.size(), farewell_.text.size()));
  std::copy_n(text.begin(), farewell_.text_bytes, farewell_.text.begin());
  if (!send(MessageKind::kFarewell, &farewell_, sizeof farewell_, farewell_request_)) return false;
  // That UCX has let go of a message does not mean that it is on its way.
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.cb.send = &Channel::on_request_done;
  params.user_data = &flush_request_;
  ++in_flight_;
  ucs_status_ptr_t result = api().ep_flush_nbx(endpoint_, &params);
  if (!UCS_PTR_IS_PTR(result)) on_done(flush_request_, UCS_PTR_STATUS(result));
  return true;
}

void Channel::cancel() {
  if (endpoint_ == nullptr) return;
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  params.flags = UCP_EP_CLOSE_FLAG_FORCE;
  ucs_status_ptr_t result = api().ep_close_nbx(endpoint_, &params);
  if (UCS_PTR_IS_PTR(result)) api().request_free(result);  // the end is told by the other requests
  endpoint_ = nullptr;
}

void Channel::on_request_done(void* request, ucs_status_t status, void* user) {
  auto& done = *static_cast<Request*>(user);
  done.channel->on_done(done, status);
  done.channel->api().request_free(request);
}

void Channel::on_done(const Request& request, ucs_status_t status) {
  --in_flight_;
  if (status != UCS_OK && receiving_) {
    note({.kind = Happening::Kind::kBroken, .status = context_.failure(status, "the connection")});
  }
  switch (request.kind) {
    case Request::Kind::kPut:
      if (const auto put = outgoing_.mark_sent(request.slot)) {
        note({.kind = Happening::Kind::kPutDone, .put = put->header, .token = put->token});
      }
      break;
    case Request::Kind::kAck:
      ack_busy_ = false;
      break;
    case Request::Kind::kFlush:
      farewell_out_ = true;
      break;
    case Request::Kind::kHello:
    case Request::Kind::kFarewell:
      break;
  }
}

// --- Receiving -----------------------------------------------------------------------------------

template <typename Header>
bool Channel::take(Header& header, const void* bytes, size_t size) const {
  if (!receiving_ || size > sizeof header || size < sizeof header.session) return false;
  std::memcpy(&header, bytes, size);
  return header.session == session_;
}

ucs_status_t Channel::on_hello(const void* header, size_t size, void* /*data*/, size_t /*bytes*/,
                               bool /*rendezvous*/) {
  Hello hello;
  if (take(hello, header, size)) {
    note({.kind = Happening::Kind::kHello, .peer_session = hello.sender_session});
  }
  return UCS_OK;
}

// Where a put of the peer belongs; the header had `size` bytes, and `bytes` come with it.
Result<std::byte*> Channel::locate(const PutHeader& put, size_t size, size_t bytes) const {
  if (size != sizeof put || put.bytes != bytes || (put.flags & ~kNotifyFlag) != 0) {
    return error(Code::kRailFailed, "a put's header is damaged: flags {:#x}, {} bytes", put.flags,
                 put.bytes);
  }
  if (receives_.size() - free_receives_.size() > kMostReceives || owed_.size() > kMostReceives) {
    return error(Code::kRailFailed, "the peer has more than {} puts on their way", kMostReceives);
  }
  if (bytes == 0) return nullptr;
  RAILCCL_ASSIGN(const MemoryTable::Place place, memory_.locate(put.key, put.offset, put.bytes));
  return place.address;
}

ucs_status_t Channel::on_put(const void* header, size_t size, void* data, size_t bytes,
                             bool rendezvous) {
  PutHeader put;
  if (!take(put, header, size)) return UCS_OK;
  const auto place = locate(put, size, bytes);
  if (!place) {
    note({.kind = Happening::Kind::kRefused, .status = place.error()});
    refuse();
    return UCS_OK;
  }
  if (rendezvous) return fetch(put, *place, data);
  if (bytes != 0) std::memcpy(*place, data, bytes);
  on_put_placed(put, *place);
  return UCS_OK;
}

ucs_status_t Channel::fetch(const PutHeader& header, std::byte* place, void* data) {
  if (free_receives_.empty()) {
    receives_.emplace_back();
    free_receives_.push_back(&receives_.back());
  }
  Receive& receive = *free_receives_.back();
  free_receives_.pop_back();
  receive = {.channel = this, .header = header, .place = place, .busy = true};
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.cb.recv_am = &Channel::on_receive_done;
  params.user_data = &receive;
  if (const Registration* target = memory_.find(header.key)) {
    params.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    params.memh = static_cast<const UcxRegistration*>(target)->handle();
  }
  ++in_flight_;
  ucs_status_ptr_t result =
      api().am_recv_data_nbx(worker_.get(), data, place, header.bytes, &params);
  if (UCS_PTR_IS_PTR(result)) return UCS_INPROGRESS;
  on_receive_done(nullptr, UCS_PTR_STATUS(result), header.bytes, &receive);
  return UCS_OK;
}

void Channel::on_receive_done(void* request, ucs_status_t status, size_t /*bytes*/, void* user) {
  auto& receive = *static_cast<Receive*>(user);
  Channel& channel = *receive.channel;
  --channel.in_flight_;
  receive.busy = false;
  if (status == UCS_OK) {
    channel.on_put_placed(receive.header, receive.place);
  } else {
    channel.note({.kind = Happening::Kind::kBroken,
                  .status = channel.context_.failure(status, "a put of the peer")});
  }
  channel.free_receives_.push_back(&receive);
  if (request != nullptr) channel.api().request_free(request);
}

void Channel::on_put_placed(const PutHeader& header, const std::byte* place) {
  note({.kind = Happening::Kind::kPlaced, .put = header, .data = place});
}

ucs_status_t Channel::on_ack(const void* header, size_t size, void* /*data*/, size_t /*bytes*/,
                             bool /*rendezvous*/) {
  Ack ack;
  if (!take(ack, header, size)) return UCS_OK;
  if (ack.count > ack.sequences.size() ||
      size != offsetof(Ack, sequences) + ack.count * sizeof ack.sequences[0]) {
    note({.kind = Happening::Kind::kRefused,
          .status = error(Code::kRailFailed, "an acknowledgement of the peer is damaged")});
    return UCS_OK;
  }
  for (uint32_t i = 0; i < ack.count; ++i) on_sequence_placed(ack.sequences[i]);
  return UCS_OK;
}

void Channel::on_sequence_placed(uint32_t sequence) {
  if (!outgoing_.is_used(sequence) || outgoing_[sequence].placed) {
    note({.kind = Happening::Kind::kRefused,
          .status = error(Code::kRailFailed, "the peer acknowledged a put that was not sent")});
    return;
  }
  if (const auto put = outgoing_.mark_placed(sequence)) {
    note({.kind = Happening::Kind::kPutDone, .put = put->header, .token = put->token});
  }
}

ucs_status_t Channel::on_farewell(const void* header, size_t size, void* /*data*/, size_t /*bytes*/,
                                  bool /*rendezvous*/) {
  Farewell farewell;
  if (!take(farewell, header, size)) return UCS_OK;
  const size_t length = std::min<size_t>(farewell.text_bytes, farewell.text.size());
  std::string text(farewell.text.data(), length);
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  note({.kind = Happening::Kind::kFarewell,
        .status = error(Code::kRailFailed, "the peer ended the connection: {}", text)});
  return UCS_OK;
}

void Channel::on_broken(void* user, ucp_ep_h /*endpoint*/, ucs_status_t status) {
  auto& channel = *static_cast<Channel*>(user);
  channel.note({.kind = Happening::Kind::kBroken,
                .status = channel.context_.failure(status, "the connection broke")});
}

bool Channel::is_receiving_into(uint64_t key) const {
  return std::ranges::any_of(receives_, [key](const Receive& receive) {
    return receive.busy && receive.header.key == key;
  });
}

std::vector<uint64_t> Channel::targets() const {
  std::vector<uint64_t> keys;
  for (const Receive& receive : receives_) {
    if (receive.busy) keys.push_back(receive.header.key);
  }
  return keys;
}

// --- Progress ------------------------------------------------------------------------------------

void Channel::note(Happening happening) {
  (happened_ != nullptr ? *happened_ : pending_).push_back(std::move(happening));
}

bool Channel::progress(std::vector<Happening>& happened) {
  std::ranges::move(pending_, std::back_inserter(happened));
  pending_.clear();
  happened_ = &happened;
  bool did = !happened.empty();
  for (int i = 0; i < kMostRounds && api().worker_progress(worker_.get()) != 0; ++i) did = true;
  happened_ = nullptr;
  return did;
}

bool Channel::arm() { return api().worker_arm(worker_.get()) == UCS_OK; }

}  // namespace railccl::ucx
