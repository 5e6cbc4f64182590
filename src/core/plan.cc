#include "src/core/plan.h"

#include <algorithm>
#include <set>

namespace railccl {
namespace {

constexpr uint64_t kSlotAlignment = 4096;

uint64_t slot_bytes(const PlanInputs& inputs, int channels) {
  const uint64_t slots = static_cast<uint64_t>(channels) * static_cast<uint64_t>(inputs.depth);
  return inputs.scratch_bytes / slots / kSlotAlignment * kSlotAlignment;
}

uint64_t largest_buffer(const Call& call, int ranks) {
  const bool one_block = call.collective == Collective::kAllReduce ||
                         call.collective == Collective::kBroadcast ||
                         call.collective == Collective::kReduce;
  return call.count * call.element() * (one_block ? 1 : static_cast<uint64_t>(ranks));
}

void collect_peers(const Schedule& schedule, const Layout& layout, int rank, OperationPlan& plan) {
  std::set<int> remote(plan.remote_peers.begin(), plan.remote_peers.end());
  std::set<int> senders(plan.remote_senders.begin(), plan.remote_senders.end());
  std::set<int> local(plan.local_peers.begin(), plan.local_peers.end());
  const int node = layout.node_of[static_cast<size_t>(rank)];
  for (const Step& step : schedule.steps) {
    if (step.peer == kSelf) continue;
    if (layout.node_of[static_cast<size_t>(step.peer)] == node) {
      local.insert(step.peer);
      continue;
    }
    remote.insert(step.peer);
    if (step.kind == StepKind::kWait) senders.insert(step.peer);
  }
  for (const Slice& slice : schedule.slices) {
    if (slice.owner != kSelf) local.insert(slice.owner);
  }
  plan.remote_peers.assign(remote.begin(), remote.end());
  plan.remote_senders.assign(senders.begin(), senders.end());
  plan.local_peers.assign(local.begin(), local.end());
}

Status check_scratch(const OperationPlan& plan, size_t element) {
  for (const OperationPlan::Channel& channel : plan.by_channel) {
    const uint64_t elements =
        std::max(channel.main.scratch_elements, channel.tail.scratch_elements);
    if (elements * element > plan.slot_bytes) {
      return error(Code::kInternalError, "schedule {} needs {} bytes of scratch, a slot has {}",
                   plan.decision.chosen.algorithm->name, elements * element, plan.slot_bytes);
    }
  }
  return Status::ok();
}

}  // namespace

Shape shape_of(const Call& call, const PlanInputs& inputs, bool in_place) {
  return {.collective = call.collective,
          .layout = inputs.layout,
          .root = call.root,
          .block = call.count,
          .piece = call.count,
          .in_place = in_place,
          .direct = inputs.direct};
}

Result<Decision> decide(const Call& call, const PlanInputs& inputs, bool in_place) {
  TuningLimits limits{.slot_bytes = slot_bytes(inputs, inputs.max_channels),
                      .depth = inputs.depth,
                      .piece_bytes = inputs.piece_bytes,
                      .max_channels = inputs.max_channels,
                      .allowed = {}};
  const auto index = static_cast<size_t>(call.collective);
  if (index < inputs.allowed.size()) limits.allowed = inputs.allowed[index];
  return decide(shape_of(call, inputs, in_place), call.element(), inputs.machine, limits);
}

Result<OperationPlan> make_plan(const Call& call, const PlanInputs& inputs, bool in_place) {
  OperationPlan plan;
  RAILCCL_ASSIGN(plan.decision, decide(call, inputs, in_place));
  plan.piece_elements = plan.decision.chosen.piece;
  plan.pieces = (call.count + plan.piece_elements - 1) / plan.piece_elements;
  plan.tail_elements = call.count % plan.piece_elements;
  plan.channels = plan.decision.channels;
  plan.depth = plan.decision.depth;
  plan.slot_bytes = slot_bytes(inputs, inputs.max_channels);
  plan.all_eager = largest_buffer(call, inputs.layout->ranks()) <= inputs.eager_bytes;
  Shape shape = shape_of(call, inputs, in_place);
  shape.channels = plan.channels;
  shape.max_piece = plan.piece_elements;
  for (int channel = 0; channel < plan.channels; ++channel) {
    shape.channel = channel;
    shape.piece = plan.piece_elements;
    OperationPlan::Channel schedules;
    schedules.main = plan.decision.chosen.algorithm->generate(shape, inputs.rank);
    collect_peers(schedules.main, *inputs.layout, inputs.rank, plan);
    if (plan.tail_elements != 0) {
      shape.piece = plan.tail_elements;
      schedules.tail = plan.decision.chosen.algorithm->generate(shape, inputs.rank);
      collect_peers(schedules.tail, *inputs.layout, inputs.rank, plan);
    }
    plan.by_channel.push_back(std::move(schedules));
  }
  RAILCCL_TRY(check_scratch(plan, call.element()));
  return plan;
}

Result<std::shared_ptr<const OperationPlan>> PlanCache::get(const Call& call, bool in_place) {
  const Fingerprint fingerprint = call.fingerprint();
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.fingerprint == fingerprint && entry.in_place == in_place;
  });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().plan;
  }
  RAILCCL_ASSIGN(OperationPlan plan, make_plan(call, inputs_, in_place));
  auto shared = std::make_shared<const OperationPlan>(std::move(plan));
  entries_.push_front({.fingerprint = fingerprint, .in_place = in_place, .plan = shared});
  if (entries_.size() > kEntries) entries_.pop_back();
  return std::shared_ptr<const OperationPlan>(shared);
}

}  // namespace railccl
