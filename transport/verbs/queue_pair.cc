#include "transport/verbs/queue_pair.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/verbs/verbs_registration.h"

namespace railccl::verbs {
namespace {

constexpr uint32_t kControlRequests = 8;  // in the send queue, beside those of puts
constexpr uint32_t kMinReceiveSlots = 32;
constexpr uint32_t kWantedInlineBytes = 128;
constexpr uint8_t kReceiverNotReadyTimer = 12;   // 0.64 ms
constexpr uint8_t kReceiverNotReadyRetries = 7;  // for ever: a slow peer is not a broken rail
constexpr uint8_t kHopLimit = 255;

uint32_t send_requests(const VerbsRailOptions& options) {
  return std::bit_ceil(2 * static_cast<uint32_t>(options.max_outstanding_puts) + kControlRequests);
}

bool same_subnet_prefix(const GidBytes& one, const GidBytes& other) {
  return std::equal(one.begin(), one.begin() + 8, other.begin());
}

ibv_ah_attr path(const Local& local, const Remote& remote, const VerbsRailOptions& options,
                 uint8_t port) {
  ibv_ah_attr path{};
  path.port_num = port;
  path.sl = static_cast<uint8_t>(options.service_level);
  path.dlid = remote.lid;
  path.is_global = local.ethernet || !same_subnet_prefix(local.gid.gid, remote.gid) ? 1 : 0;
  if (path.is_global != 0) {
    std::memcpy(path.grh.dgid.raw, remote.gid.data(), remote.gid.size());
    path.grh.sgid_index = static_cast<uint8_t>(local.gid.index);
    path.grh.hop_limit = kHopLimit;
    path.grh.traffic_class = static_cast<uint8_t>(options.traffic_class);
  }
  return path;
}

template <typename T>
Result<Slots<T>> make_slots(VerbsDevice& device, uint32_t count) {
  Slots<T> made{.slots = std::vector<T>(count), .memory = {}};
  const MemoryRegion region{.address = reinterpret_cast<std::byte*>(made.slots.data()),
                            .bytes = count * sizeof(T)};
  RAILCCL_ASSIGN(made.memory, device.register_memory(region, IBV_ACCESS_LOCAL_WRITE));
  made.first = first_address(region);
  return made;
}

}  // namespace

uint64_t encode(const WorkId& id) {
  return uint64_t{id.endpoint} << 40 | uint64_t{id.queue_pair} << 33 |
         uint64_t{id.receive ? 1U : 0U} << 32 | id.sequence;
}

WorkId decode_work_id(uint64_t wr_id) {
  return {.endpoint = static_cast<uint32_t>(wr_id >> 40),
          .queue_pair = static_cast<uint8_t>(wr_id >> 33 & 0x7f),
          .receive = (wr_id >> 32 & 1) != 0,
          .sequence = static_cast<uint32_t>(wr_id)};
}

QueuePair::QueuePair(VerbsDevice& device, const VerbsRailOptions& options, uint32_t endpoint,
                     uint8_t index)
    : device_(device),
      options_(options),
      endpoint_(endpoint),
      index_(index),
      receive_slots_(
          std::max(kMinReceiveSlots, 2 * static_cast<uint32_t>(options.max_outstanding_puts))),
      sends_(send_requests(options)) {}

QueuePair::~QueuePair() { destroy(); }

void QueuePair::destroy() {
  if (completions_ == nullptr) return;
  // The memory goes after the queue pair, which may write there until then.
  destroyed_ = device_.disposal().give(std::packaged_task<void()>(
      [queue = std::exchange(completions_, nullptr),
       completions = receive_slots_ + sends_.capacity(), incoming = std::move(incoming_),
       outgoing = std::move(outgoing_), handle = std::move(handle_)]() mutable {
        handle.reset();
        incoming.memory.reset();
        outgoing.memory.reset();
        queue->reserved -= completions;
      }));
}

bool QueuePair::destroyed() const { return completions_ == nullptr && is_done(destroyed_); }

Result<std::unique_ptr<QueuePair>> QueuePair::create(VerbsDevice& device,
                                                     const VerbsRailOptions& options,
                                                     uint32_t endpoint, uint8_t index) {
  std::unique_ptr<QueuePair> pair(new QueuePair(device, options, endpoint, index));
  RAILCCL_ASSIGN(pair->incoming_, make_slots<Incoming>(device, pair->receive_slots_));
  RAILCCL_ASSIGN(pair->outgoing_, make_slots<Message>(device, pair->sends_.capacity()));
  RAILCCL_ASSIGN(pair->completions_,
                 device.reserve(pair->receive_slots_ + pair->sends_.capacity()));
  RAILCCL_TRY(pair->create_handle());
  return pair;
}

Status QueuePair::create_handle() {
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = completions_->handle.get();
  wanted.qp_context = reinterpret_cast<void*>(static_cast<uintptr_t>(endpoint_));
  wanted.qp_type = IBV_QPT_RC;
  for (const uint32_t inline_bytes : {kWantedInlineBytes, 0U}) {
    wanted.cap = {.max_send_wr = sends_.capacity(),
                  .max_recv_wr = receive_slots_,
                  .max_send_sge = 2,
                  .max_recv_sge = 1,
                  .max_inline_data = inline_bytes};
    handle_ = own(device_.api().create_qp(device_.pd(), &wanted), device_.api().destroy_qp);
    if (handle_) break;
  }
  if (!handle_) {
    return system_error(errno, fmt::format("ibv_create_qp with {} send and {} receive requests",
                                           sends_.capacity(), receive_slots_));
  }
  number_ = handle_->qp_num;
  inline_bytes_ = wanted.cap.max_inline_data;
  return Status::ok();
}

// --- States --------------------------------------------------------------------------------------

Status QueuePair::modify(ibv_qp_attr& attributes, int mask, std::string_view what) {
  const int problem = device_.api().modify_qp(handle_.get(), &attributes, mask);
  return problem == 0 ? Status::ok() : Status(system_error(problem, what));
}

Status QueuePair::connect(const Local& local, const Remote& remote) {
  RAILCCL_TRY(initialize());
  credits_.start(remote.receive_slots);
  returned_ = returned_told_ = 0;
  for (uint32_t slot = 0; slot < receive_slots_; ++slot) RAILCCL_TRY(post_receive(slot));
  RAILCCL_TRY(ready_to_receive(local, remote));
  return ready_to_send(local);
}

Status QueuePair::initialize() {
  ibv_qp_attr reset{};
  reset.qp_state = IBV_QPS_RESET;
  RAILCCL_TRY(modify(reset, IBV_QP_STATE, "resetting a queue pair"));
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.pkey_index = static_cast<uint16_t>(options_.partition_index);
  attributes.port_num = device_.port();
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  return modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
                fmt::format("initializing a queue pair with partition key index {}",
                            options_.partition_index));
}

Status QueuePair::ready_to_receive(const Local& local, const Remote& remote) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = std::min(local.mtu, remote.mtu);
  attributes.dest_qp_num = remote.number;
  attributes.rq_psn = remote.first_packet;
  attributes.max_dest_rd_atomic = 1;
  attributes.min_rnr_timer = kReceiverNotReadyTimer;
  attributes.ah_attr = path(local, remote, options_, device_.port());
  return modify(
      attributes,
      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
      fmt::format("from GID {} (index {}) to the peer's GID {}, LID {}: no way there",
                  gid_text(local.gid.gid), local.gid.index, gid_text(remote.gid), remote.lid));
}

Status QueuePair::ready_to_send(const Local& local) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = static_cast<uint8_t>(options_.ack_timeout);
  attributes.retry_cnt = static_cast<uint8_t>(options_.retry_count);
  attributes.rnr_retry = kReceiverNotReadyRetries;
  attributes.sq_psn = local.first_packet;
  attributes.max_rd_atomic = 1;
  return modify(attributes,
                IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                "starting a queue pair");
}

void QueuePair::stop() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  // A refusal shows as work that does not drain; the endpoint then destroys the queue pair.
  (void)modify(attributes, IBV_QP_STATE, "stopping a queue pair").is_ok();
}

// --- Sending -------------------------------------------------------------------------------------

uint64_t QueuePair::work_id(bool receive, uint32_t sequence) const {
  return encode(WorkId{
      .endpoint = endpoint_, .queue_pair = index_, .receive = receive, .sequence = sequence});
}

bool QueuePair::is_inline(const Put& put, size_t bytes) const {
  return bytes <= inline_bytes_ && put.source->region().kind == MemoryKind::kHost;
}

ibv_sge QueuePair::source_of(const Put& put, bool copied) const {
  const auto& source = static_cast<const VerbsRegistration&>(*put.source);
  const uint64_t first = copied ? reinterpret_cast<uintptr_t>(source.region().address)
                                : first_address(source.region());
  return {.addr = first + put.source_offset,
          .length = static_cast<uint32_t>(put.bytes),
          .lkey = source.local_key()};
}

void QueuePair::describe_data(const Put& put, Request& request) const {
  request.work.opcode = IBV_WR_RDMA_WRITE;
  if (put.bytes == 0) return;
  const bool copied = is_inline(put, put.bytes);
  request.add(source_of(put, copied));
  if (copied) request.work.send_flags |= IBV_SEND_INLINE;
  const RemoteKey key = decode_remote_key(put.remote_key);
  request.work.wr.rdma.rkey = key.rkey;
  request.work.wr.rdma.remote_addr = key.first_address + put.remote_offset;
}

void QueuePair::describe_message(const Message& message, const Put* carried, uint32_t sequence,
                                 Request& request) {
  const uint32_t slot = sequence % sends_.capacity();
  outgoing_.slots[slot] = message;
  outgoing_.slots[slot].returned = returned_;
  const bool copied = carried == nullptr ? sizeof(Message) <= inline_bytes_
                                         : is_inline(*carried, sizeof(Message) + carried->bytes);
  request.work.opcode = IBV_WR_SEND;
  request.work.send_flags = IBV_SEND_SIGNALED;
  if (copied) request.work.send_flags |= IBV_SEND_INLINE;
  request.add({.addr = copied ? reinterpret_cast<uintptr_t>(&outgoing_.slots[slot])
                              : outgoing_.address(slot),
               .length = sizeof(Message),
               .lkey = outgoing_.memory->lkey});
  if (carried != nullptr) request.add(source_of(*carried, copied));
}

// One call for both, so that the doorbell is rung once; over Soft-RoCE that is a system call.
Status QueuePair::post(Request* data, Request* message, const Work& work) {
  Request* const first = data != nullptr ? data : message;
  uint32_t sequence = sends_.next();
  if (data != nullptr) {
    data->work.wr_id = work_id(false, sequence++);
    if (message != nullptr) data->work.next = &message->work;
  }
  if (message != nullptr) message->work.wr_id = work_id(false, sequence);
  ibv_send_wr* refused = &first->work;
  const int problem = ibv_post_send(handle_.get(), &first->work, &refused);
  const bool data_alone = problem != 0 && refused != &first->work;
  // The put is not accepted: its bytes, if they still go out, complete nothing.
  if (data_alone) sends_.push({.kind = WorkKind::kForgotten});
  if (problem != 0) return system_error(problem, "ibv_post_send");
  if (data != nullptr && message != nullptr) {
    sends_.push({.kind = WorkKind::kData, .token = work.token});
  }
  sends_.push(work);
  if (message == nullptr) return Status::ok();
  credits_.use();
  returned_told_ = returned_;
  return Status::ok();
}

Status QueuePair::put(const Put& put) {
  if (puts_in_flight_ >= options_.max_outstanding_puts ||
      sends_.free() < 2 + kControlRequests / 2 || (put.notify && !credits_.for_put())) {
    return Status::back_pressure();
  }
  const bool carried = put.notify && put.bytes != 0 && put.bytes <= kMostCarriedBytes &&
                       decode_remote_key(put.remote_key).host;
  const bool has_data = !carried && (put.bytes != 0 || !put.notify);
  Request data;
  Request message;
  if (has_data) describe_data(put, data);
  if (put.notify) {
    describe_message({.kind = MessageKind::kNotification,
                      .bytes = put.bytes,
                      .key = put.remote_key,
                      .offset = put.remote_offset,
                      .words = put.notification},
                     carried ? &put : nullptr, sends_.next() + (has_data ? 1 : 0), message);
  } else {
    data.work.send_flags |= IBV_SEND_SIGNALED;
  }
  RAILCCL_TRY(post(has_data ? &data : nullptr, put.notify ? &message : nullptr,
                   {.kind = WorkKind::kPut, .token = put.token}));
  ++puts_in_flight_;
  return Status::ok();
}

Result<bool> QueuePair::send(MessageKind kind, const Notification& words) {
  if (sends_.free() == 0 || credits_.available() == 0) return false;
  Request message;
  describe_message({.kind = kind, .words = words}, nullptr, sends_.next(), message);
  RAILCCL_TRY(post(nullptr, &message,
                   {.kind = WorkKind::kControl, .farewell = kind == MessageKind::kFarewell}));
  return true;
}

Status QueuePair::return_credits() {
  if (returned_ - returned_told_ < receive_slots_ / 2) return Status::ok();
  const auto sent = send(MessageKind::kCredits, {});
  return sent ? Status::ok() : sent.error();
}

// --- Receiving -----------------------------------------------------------------------------------

Status QueuePair::post_receive(uint32_t slot) {
  ibv_sge piece{};
  piece.addr = incoming_.address(slot);
  piece.length = sizeof(Incoming);
  piece.lkey = incoming_.memory->lkey;
  ibv_recv_wr request{};
  request.wr_id = work_id(true, slot);
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  if (const int problem = ibv_post_recv(handle_.get(), &request, &bad); problem != 0) {
    return system_error(problem, "ibv_post_recv");
  }
  ++receives_posted_;
  return Status::ok();
}

Result<Message> QueuePair::take(uint32_t slot, size_t bytes) {
  --receives_posted_;
  if (bytes < sizeof(Message)) {
    return error(Code::kRailFailed, "a message of {} bytes came, they have at least {}", bytes,
                 sizeof(Message));
  }
  const Message message = incoming_.slots[slot].message;
  if (!credits_.on_returned(message.returned)) {
    return error(Code::kPeerFailed,
                 "the peer says that it gave back {} receive slots after {} before, {} were used: "
                 "it is broken",
                 message.returned, credits_.returned(), credits_.used());
  }
  return message;
}

std::span<const std::byte> QueuePair::carried(uint32_t slot, size_t bytes) const {
  return std::span(incoming_.slots[slot].carried).first(bytes - sizeof(Message));
}

Status QueuePair::give_back(uint32_t slot) {
  RAILCCL_TRY(post_receive(slot));
  ++returned_;
  return Status::ok();
}

}  // namespace railccl::verbs
