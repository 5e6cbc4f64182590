#include "transport/verbs/queue_pair_start.h"

#include <algorithm>
#include <cstring>

namespace railccl::verbs {
namespace {

constexpr uint8_t kReceiverNotReadyTimer = 12;   // 0.64 ms
constexpr uint8_t kReceiverNotReadyRetries = 7;  // for ever: a slow peer is not a broken rail
constexpr uint8_t kHopLimit = 255;

bool same_subnet_prefix(const GidBytes& one, const GidBytes& other) {
  return std::equal(one.begin(), one.begin() + 8, other.begin());
}

ibv_ah_attr path(const QueuePairStart& plan) {
  ibv_ah_attr path{};
  path.port_num = plan.device->port();
  path.sl = static_cast<uint8_t>(plan.options->service_level);
  path.dlid = plan.remote.lid;
  path.is_global =
      plan.local.ethernet || !same_subnet_prefix(plan.local.gid.gid, plan.remote.gid) ? 1 : 0;
  if (path.is_global != 0) {
    std::memcpy(path.grh.dgid.raw, plan.remote.gid.data(), plan.remote.gid.size());
    path.grh.sgid_index = static_cast<uint8_t>(plan.local.gid.index);
    path.grh.hop_limit = kHopLimit;
    path.grh.traffic_class = static_cast<uint8_t>(plan.options->traffic_class);
  }
  return path;
}

Status modify(const QueuePairStart& plan, ibv_qp_attr& attributes, int mask,
              std::string_view what) {
  const int problem = plan.device->api().modify_qp(plan.pair, &attributes, mask);
  return problem == 0 ? Status::ok() : Status(system_error(problem, what));
}

Status initialize(const QueuePairStart& plan) {
  ibv_qp_attr reset{};
  reset.qp_state = IBV_QPS_RESET;
  RAILCCL_TRY(modify(plan, reset, IBV_QP_STATE, "resetting a queue pair"));
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.pkey_index = static_cast<uint16_t>(plan.options->partition_index);
  attributes.port_num = plan.device->port();
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  return modify(plan, attributes,
                IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
                fmt::format("initializing a queue pair with partition key index {}",
                            plan.options->partition_index));
}

Status ready_to_receive(const QueuePairStart& plan) {
  const auto& [local, remote] = std::tie(plan.local, plan.remote);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = std::min(local.mtu, remote.mtu);
  attributes.dest_qp_num = remote.number;
  attributes.rq_psn = remote.first_packet;
  attributes.max_dest_rd_atomic = 1;
  attributes.min_rnr_timer = kReceiverNotReadyTimer;
  attributes.ah_attr = path(plan);
  return modify(
      plan, attributes,
      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
      fmt::format("from GID {} (index {}) to the peer's GID {}, LID {}: no way there",
                  gid_text(local.gid.gid), local.gid.index, gid_text(remote.gid), remote.lid));
}

Status ready_to_send(const QueuePairStart& plan) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = static_cast<uint8_t>(plan.options->ack_timeout);
  attributes.retry_cnt = static_cast<uint8_t>(plan.options->retry_count);
  attributes.rnr_retry = kReceiverNotReadyRetries;
  attributes.sq_psn = plan.local.first_packet;
  attributes.max_rd_atomic = 1;
  return modify(plan, attributes,
                IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                "starting a queue pair");
}

Status run_through(const QueuePairStart& plan, uint32_t& receives_posted) {
  RAILCCL_TRY(initialize(plan));
  for (; receives_posted < plan.receives.count; ++receives_posted) {
    RAILCCL_TRY(post_receive(plan.pair, plan.receives, receives_posted));
  }
  RAILCCL_TRY(ready_to_receive(plan));
  return ready_to_send(plan);
}

}  // namespace

Status post_receive(ibv_qp* pair, const ReceiveSlots& slots, uint32_t slot) {
  ibv_sge piece{};
  piece.addr = slots.first_address + uint64_t{slot} * slots.bytes;
  piece.length = slots.bytes;
  piece.lkey = slots.local_key;
  ibv_recv_wr request{};
  request.wr_id = slots.first_work_id + slot;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  const int problem = ibv_post_recv(pair, &request, &bad);
  return problem == 0 ? Status::ok() : Status(system_error(problem, "ibv_post_recv"));
}

Started start(const QueuePairStart& plan) {
  Started started;
  started.status = run_through(plan, started.receives_posted);
  return started;
}

std::vector<Started> Starting::run() {
  std::vector<Started> all(plans_.size());
  State before = State::kWaiting;
  if (!state_.compare_exchange_strong(before, State::kRunning)) return all;
  struct End {  // whatever happens: somebody may wait for it
    std::atomic<State>& state;
    ~End() {
      state = State::kDone;
      state.notify_all();
    }
  } const end{state_};
  for (size_t i = 0; i < plans_.size(); ++i) {
    all[i] = start(plans_[i]);
    if (!all[i].status.is_ok()) break;
  }
  return all;
}

bool Starting::cancel() {
  State before = State::kWaiting;
  return state_.compare_exchange_strong(before, State::kCancelled) || before == State::kCancelled;
}

void Starting::await_end() {
  if (!cancel()) state_.wait(State::kRunning);
}

}  // namespace railccl::verbs
