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

uint32_t send_requests(const VerbsRailOptions& options) {
  return std::bit_ceil(2 * static_cast<uint32_t>(options.max_outstanding_puts) + kControlRequests);
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
  destroyed_ =
      device_.ends().give([queue = std::exchange(completions_, nullptr),
                           completions = receive_slots_ + sends_.capacity(),
                           incoming = std::move(incoming_), outgoing = std::move(outgoing_),
                           handle = std::move(handle_), starting = std::move(starting_)]() mutable {
        if (starting) starting->await_end();
        handle.reset();
        incoming.memory.reset();
        outgoing.memory.reset();
        queue->reserved -= completions;
      });
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

QueuePairStart QueuePair::plan_start(const Local& local, const Remote& remote) {
  credits_.start(remote.receive_slots);
  returned_ = returned_told_ = 0;
  receives_posted_ = receive_slots_;
  return {.device = &device_,
          .options = &options_,
          .pair = handle_.get(),
          .local = local,
          .remote = remote,
          .receives = receives()};
}

void QueuePair::on_started(const Started& started) {
  receives_posted_ -= receive_slots_ - started.receives_posted;
}

void QueuePair::stop() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  // A refusal shows as work that does not drain; the endpoint then destroys the queue pair.
  (void)device_.api().modify_qp(handle_.get(), &attributes, IBV_QP_STATE);
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

ReceiveSlots QueuePair::receives() const {
  return {.first_address = incoming_.address(0),
          .bytes = sizeof(Incoming),
          .local_key = incoming_.memory->lkey,
          .count = receive_slots_,
          .first_work_id = work_id(true, 0)};
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
                 "it is broken (message {} of {} bytes in slot {} of queue pair {})",
                 message.returned, credits_.returned(), credits_.used(),
                 static_cast<uint32_t>(message.kind), bytes, slot, number_);
  }
  return message;
}

std::span<const std::byte> QueuePair::carried(uint32_t slot, size_t bytes) const {
  return std::span(incoming_.slots[slot].carried).first(bytes - sizeof(Message));
}

Status QueuePair::give_back(uint32_t slot) {
  RAILCCL_TRY(post_receive(handle_.get(), receives(), slot));
  ++receives_posted_;
  ++returned_;
  return Status::ok();
}

}  // namespace railccl::verbs
