#include "src/core/plan.h"

#include <algorithm>
#include <set>

namespace railccl {
namespace {

constexpr uint64_t kSlotAlignment = 4096;
// How much others put to this rank is seen in their schedules, as long as they are not too many: a
// call that is planned anew each time must not wait for milliseconds.
constexpr uint64_t kStepsLookedAt = 1 << 14;

uint64_t slot_bytes(const PlanInputs& inputs, int channels) {
  const uint64_t slots = static_cast<uint64_t>(channels) * static_cast<uint64_t>(inputs.depth);
  return inputs.scratch_bytes / slots / kSlotAlignment * kSlotAlignment;
}

// Elements.
uint64_t largest_buffer(const Call& call, int ranks) {
  const bool one_block = call.collective == Collective::kAllReduce ||
                         call.collective == Collective::kBroadcast ||
                         call.collective == Collective::kReduce;
  return call.count * (one_block ? 1 : static_cast<uint64_t>(ranks));
}

void collect_peers(const Schedule& schedule, const Layout& layout, int rank, OperationPlan& plan) {
  std::set<int> remote(plan.remote_peers.begin(), plan.remote_peers.end());
  std::set<int> senders(plan.remote_senders.begin(), plan.remote_senders.end());
  std::set<int> local(plan.local_peers.begin(), plan.local_peers.end());
  for (const Step& step : schedule.steps) {
    if (step.peer == kSelf) continue;
    if (layout.same_node(step.peer, rank)) {
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

bool is_integer(DataType type) { return type <= DataType::kUint64; }

bool is_user_schedule(const Candidate& candidate, const PlanInputs& inputs) {
  return inputs.user_schedule != nullptr &&
         candidate.algorithm == &inputs.user_schedule->algorithm();
}

// The user's own schedule is taken where it fits, also where no other one would be allowed.
void consider_user_schedule(const Shape& shape, const Call& call, const PlanInputs& inputs,
                            Result<Decision>& decision) {
  const UserSchedule& mine = *inputs.user_schedule;
  Candidate candidate{.algorithm = &mine.algorithm(), .piece = mine.piece()};
  candidate.unsuitable =
      mine.unsuitable(shape, call.element(), slot_bytes(inputs, inputs.max_channels));
  if (candidate.unsuitable.empty()) {
    Shape cut = shape;
    cut.piece = mine.piece();
    candidate.seconds = predict(mine.cost(), cut, call.element(), inputs.machine, inputs.depth);
    if (!decision) decision = Decision{};
    decision->chosen = candidate;
    decision->channels = 1;
    decision->depth = inputs.depth;
  }
  if (decision) decision->considered.push_back(candidate);
}

std::vector<OperationPlan::Channel> schedules_of(int rank, Shape shape, const PlanInputs& inputs,
                                                 const OperationPlan& plan) {
  if (is_user_schedule(plan.decision.chosen, inputs)) {
    return {{.main = inputs.user_schedule->of_rank(rank), .tail = {}}};
  }
  const Algorithm& algorithm = *plan.decision.chosen.algorithm;
  std::vector<OperationPlan::Channel> by_channel;
  for (shape.channel = 0; shape.channel < plan.channels; ++shape.channel) {
    OperationPlan::Channel schedules;
    shape.piece = plan.piece_elements;
    schedules.main = algorithm.generate(shape, rank);
    shape.piece = plan.tail_elements;
    if (plan.tail_elements != 0) schedules.tail = algorithm.generate(shape, rank);
    by_channel.push_back(std::move(schedules));
  }
  return by_channel;
}

// Whether any put there to one of `receivers` is of more than `most` elements.
bool puts_more(const std::vector<OperationPlan::Channel>& by_channel, uint64_t most,
               const std::vector<int>& receivers) {
  const auto is_larger = [&](const Step& step) {
    return step.kind == StepKind::kPut && step.count > most &&
           std::ranges::binary_search(receivers, step.peer);
  };
  return std::ranges::any_of(by_channel, [&](const OperationPlan::Channel& channel) {
    return std::ranges::any_of(channel.main.steps, is_larger) ||
           std::ranges::any_of(channel.tail.steps, is_larger);
  });
}

void find_large_puts(const Call& call, const Shape& shape, const PlanInputs& inputs,
                     OperationPlan& plan) {
  const uint64_t most = inputs.eager_bytes / call.element();
  // (A schedule of the user's own may put more from scratch to scratch.)
  const bool all_small = largest_buffer(call, inputs.layout->ranks()) <= most;
  if (all_small && !is_user_schedule(plan.decision.chosen, inputs)) return;
  plan.puts_large = puts_more(plan.by_channel, most, plan.remote_peers);
  uint64_t steps = 0;
  for (const OperationPlan::Channel& channel : plan.by_channel) {
    steps += channel.main.steps.size() + channel.tail.steps.size();
  }
  const bool look = steps * plan.remote_senders.size() <= kStepsLookedAt;
  for (const int sender : plan.remote_senders) {
    if (!look || puts_more(schedules_of(sender, shape, inputs, plan), most, {inputs.rank})) {
      plan.large_senders.push_back(sender);
    }
  }
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

bool uses_user_schedule(const Call& call, const PlanInputs& inputs) {
  if (inputs.user_schedule == nullptr) return false;
  const uint64_t slot = slot_bytes(inputs, inputs.max_channels);
  return inputs.user_schedule->unsuitable(shape_of(call, inputs, false), call.element(), slot)
      .empty();
}

// What is only moved has no order. Integers wrap around, and the least or largest of numbers is one
// of them (docs/numerics.md: also of floats with zeros and NaN among them). Sums, products and
// averages of floats round differently.
bool is_order_free(const Call& call) {
  return !is_reduction(call.collective) || is_integer(call.type) || call.op == ReduceOp::kMin ||
         call.op == ReduceOp::kMax;
}

bool choice_is_kept(const Call& call, const PlanInputs& inputs) {
  return inputs.retune == Retune::kExact && !is_order_free(call);
}

Result<Decision> decide(const Call& call, const PlanInputs& inputs) {
  TuningLimits limits{.slot_bytes = slot_bytes(inputs, inputs.max_channels),
                      .depth = inputs.depth,
                      .piece_bytes = inputs.piece_bytes,
                      .min_channels = inputs.min_channels,
                      .max_channels = inputs.max_channels,
                      .allowed = {}};
  const auto index = static_cast<size_t>(call.collective);
  if (index < inputs.allowed.size()) limits.allowed = inputs.allowed[index];
  // Where its buffers lie each rank knows of itself only; in place needs the most scratch.
  const Shape shape = shape_of(call, inputs, call.collective != Collective::kAllToAll);
  const bool kept = choice_is_kept(call, inputs);
  Result<Decision> decision =
      decide(shape, call.element(), kept ? inputs.machine_at_start : inputs.machine, limits);
  if (kept && decision) predict_again(*decision, shape, call.element(), inputs.machine, limits);
  if (inputs.user_schedule != nullptr) consider_user_schedule(shape, call, inputs, decision);
  return decision;
}

Result<OperationPlan> make_plan(const Call& call, const PlanInputs& inputs, bool in_place) {
  OperationPlan plan;
  RAILCCL_ASSIGN(plan.decision, decide(call, inputs));
  plan.piece_elements = plan.decision.chosen.piece;
  plan.pieces = (call.count + plan.piece_elements - 1) / plan.piece_elements;
  plan.tail_elements = call.count % plan.piece_elements;
  plan.channels = plan.decision.channels;
  plan.depth = plan.decision.depth;
  plan.slot_bytes = slot_bytes(inputs, inputs.max_channels);
  Shape shape = shape_of(call, inputs, in_place);
  shape.channels = plan.channels;
  shape.max_piece = plan.piece_elements;
  if (is_user_schedule(plan.decision.chosen, inputs)) {
    RAILCCL_TRY(inputs.user_schedule->check_in_place(shape));
  }
  plan.by_channel = schedules_of(inputs.rank, shape, inputs, plan);
  for (const OperationPlan::Channel& channel : plan.by_channel) {
    collect_peers(channel.main, *inputs.layout, inputs.rank, plan);
    collect_peers(channel.tail, *inputs.layout, inputs.rank, plan);
  }
  find_large_puts(call, shape, inputs, plan);
  RAILCCL_TRY(check_scratch(plan, call.element()));
  return plan;
}

void PlanCache::set_machine(const MachineModel& machine) {
  inputs_.machine = machine;
  entries_.clear();
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
