#include "src/core/p2p.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace railccl {
namespace {

// "sends ... to rank 3", of the rank that called it.
std::string phrase(const P2pTransfer& call) {
  return fmt::format("{} {} {} rank {}", call.is_send ? "sends" : "receives",
                     to_string(call.fingerprint()), call.is_send ? "to" : "from", call.peer);
}

}  // namespace

P2p::P2p(const ExecutorServices& services)
    : services_(services),
      pairs_(static_cast<size_t>(services.layout->ranks())),
      slot_taken_(pairs_.size()) {}

int P2p::local_index(int rank) const {
  return services_.layout->local_index[static_cast<size_t>(rank)];
}

Status P2p::begin(const std::shared_ptr<Operation>& operation, TimeNs now) {
  Group& group = groups_.emplace_back();
  group.operation = operation;
  group.began = now;
  for (const P2pTransfer& call : operation->transfers) {
    Pair& pair = pair_of(call.peer);
    group.transfers.push_back({.id = kP2pToken | next_id_++,
                               .call = call,
                               .sequence = call.is_send ? pair.sends++ : pair.receives++,
                               .memory = nullptr});
    trace_transfer(TraceKind::kOperationBegin, group.transfers.back());
    if (!services_.is_local(call.peer)) RAILCCL_TRY(services_.peers->ensure(call.peer, now));
  }
  group.left = group.transfers.size();
  return match_self(group);
}

// Sends to oneself pair with receives from oneself, in order, within one group.
Status P2p::match_self(Group& group) {
  std::vector<Transfer*> sends;
  std::vector<Transfer*> receives;
  for (Transfer& transfer : group.transfers) {
    if (transfer.call.peer != services_.rank) continue;
    (transfer.call.is_send ? sends : receives).push_back(&transfer);
  }
  if (sends.size() != receives.size()) {
    return error(Code::kInvalidUsage,
                 "rank {} has {} sends to itself and {} receives from itself in one group; they "
                 "must pair inside the group",
                 services_.rank, sends.size(), receives.size());
  }
  for (size_t i = 0; i < sends.size(); ++i) {
    RAILCCL_TRY(mismatch(*receives[i], sends[i]->call.fingerprint()));
    std::memmove(receives[i]->call.buffer, sends[i]->call.buffer, sends[i]->call.bytes());
    sends[i]->stage = receives[i]->stage = Stage::kDone;
    group.left -= 2;
    trace_transfer(TraceKind::kOperationEnd, *sends[i]);
    trace_transfer(TraceKind::kOperationEnd, *receives[i]);
  }
  return Status::ok();
}

void P2p::trace_transfer(TraceKind kind, const Transfer& transfer) const {
  const bool begins = kind == TraceKind::kOperationBegin;
  trace({.kind = kind,
         .source = services_.trace_source,
         .peer = transfer.call.peer,
         .a = kTraceTransfer | (transfer.id & ~kP2pToken),
         .b = begins ? trace_operation(Collective::kSendRecv, transfer.call.bytes()) : 0});
}

Status P2p::mismatch(const Transfer& transfer, const Fingerprint& theirs) const {
  const Fingerprint mine = transfer.call.fingerprint();
  if (mine == theirs) return Status::ok();
  return error(Code::kMismatch, "rank {} {}, which {} {} (number {} of this pair)", services_.rank,
               phrase(transfer.call), transfer.call.is_send ? "receives" : "sends",
               to_string(theirs), transfer.sequence);
}

Result<bool> P2p::step(TimeNs now) {
  bool worked = false;
  for (Group& group : groups_) {
    for (Transfer& transfer : group.transfers) {
      if (transfer.stage == Stage::kDone) continue;
      RAILCCL_ASSIGN(const bool moved, advance(group, transfer, now));
      worked |= moved;
      if (transfer.stage != Stage::kDone) continue;
      --group.left;
      trace_transfer(TraceKind::kOperationEnd, transfer);
    }
    if (group.left == 0) finished_.push_back(group.operation);
  }
  std::erase_if(groups_, [](const Group& group) { return group.left == 0; });
  return worked || !finished_.empty();
}

Result<bool> P2p::advance(const Group& group, Transfer& transfer, TimeNs now) {
  const bool is_send = transfer.call.is_send;
  if (services_.is_local(transfer.call.peer)) {
    // Slots of a pair are used in the order of its transfers.
    if (!first_of_its_pair(transfer)) return false;
    return is_send ? send_local(transfer) : receive_local(transfer);
  }
  return is_send ? send_remote(transfer, now) : receive_remote(group, transfer, now);
}

bool P2p::first_of_its_pair(const Transfer& transfer) const {
  for (const Group& group : groups_) {
    for (const Transfer& other : group.transfers) {
      if (&other == &transfer) return true;
      if (other.stage == Stage::kStart && other.call.peer == transfer.call.peer &&
          other.call.is_send == transfer.call.is_send) {
        return false;
      }
    }
  }
  return true;
}

std::vector<std::shared_ptr<Operation>> P2p::take_finished() {
  return std::exchange(finished_, {});
}

void P2p::on_put_done(uint64_t token) {
  for (Group& group : groups_) {
    for (Transfer& transfer : group.transfers) {
      if (transfer.id != token || transfer.stage != Stage::kInFlight) continue;
      transfer.stage = Stage::kDone;
      transfer.memory.reset();
      --group.left;
      trace_transfer(TraceKind::kOperationEnd, transfer);
      return;
    }
  }
}

std::vector<std::shared_ptr<Operation>> P2p::abandon() {
  std::vector<std::shared_ptr<Operation>> left = take_finished();
  for (Group& group : groups_) left.push_back(std::move(group.operation));
  groups_.clear();
  return left;
}

std::optional<P2p::Partner> P2p::waiting_for(const std::map<int, Departure>& departures) const {
  for (const Group& group : groups_) {
    for (const Transfer& transfer : group.transfers) {
      if (transfer.stage == Stage::kDone || !departures.contains(transfer.call.peer)) continue;
      return Partner{.rank = transfer.call.peer, .transfer = phrase(transfer.call)};
    }
  }
  return std::nullopt;
}

std::string P2p::describe() const {
  std::string text = fmt::format("{} point-to-point groups under way", groups_.size());
  for (const Group& group : groups_) {
    for (const Transfer& transfer : group.transfers) {
      if (transfer.stage == Stage::kDone) continue;
      text +=
          fmt::format("; {} rank {}: {} bytes", transfer.call.is_send ? "send to" : "receive from",
                      transfer.call.peer, transfer.call.bytes());
    }
  }
  return text;
}

}  // namespace railccl
