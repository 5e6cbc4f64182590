// SimRank: the operations of the workload (see sim_rank.h).
#include <algorithm>
#include <utility>

#include "tests/simulate/sim_rank.h"

namespace railccl::simulate {
namespace {

constexpr std::byte kPoison{0xA5};

}  // namespace

void SimRank::next_operation(TimeNs now) {
  if (next_ == workload_.operations.size()) {
    stage_ = Stage::kGoodbye;
    close_deadline_ = 0;
    return;
  }
  stage_ = Stage::kPause;
  pause_until_ = now + workload_.operations[next_].pause[static_cast<size_t>(parts_.rank)];
}

bool SimRank::begin_operation(TimeNs now) {
  if (now < pause_until_) return false;
  const bool counted = workload_.operations[next_].collective != Collective::kSendRecv;
  const bool held = counted && !rail_model_->may_begin(collectives_ + 1);
  if (held && parts_.defect != Defect::kNoHold) return false;
  const OperationSpec& spec = workload_.operations[next_];
  call_ = workload_.call(next_);
  const auto rank = static_cast<size_t>(parts_.rank);
  const std::vector<std::byte>& data = parts_.script->inputs[next_][rank];
  const uint64_t in = input_bytes(call_, parts_.rank, workload_.ranks);
  const uint64_t out = output_bytes(call_, parts_.rank, workload_.ranks);
  std::fill(output_.begin(), output_.end(), kPoison);
  // A rank without an input of its own (a broadcast's) still has its output.
  std::byte* place = spec.in_place && out >= in ? output_.data() : input_.data();
  std::copy(data.begin(), data.end(), place);
  call_.input = place;
  call_.output = spec.in_place && out < in ? input_.data() : output_.data();
  parts_.watch->open_buffer(call_.output, true);
  Arithmetic arithmetic{.input = call_.input, .op = call_.op};
  if (call_.op == ReduceOp::kAvg) arithmetic.divide_by = static_cast<uint32_t>(workload_.ranks);
  stage_ = Stage::kRun;
  // Collectives are counted from 1; groups of pairs are not among them.
  if (counted) {
    rail_model_->begin(++collectives_);
    parts_.observer->on_collective(parts_.rank, collectives_, rail_model_->picture());
    parts_.observer->on_phase(Fault::Phase::kReady);
  }
  const Status status =
      counted ? executor_->begin(call_, arithmetic, collectives_, plan_in_force(), now)
              : begin_pairwise(now);
  if (!status) set_error(status, true);
  return true;
}

std::shared_ptr<const OperationPlan> SimRank::plan_in_force() const {
  const auto rank = static_cast<size_t>(parts_.rank);
  const auto& alternative = parts_.script->alternatives[next_][rank];
  const bool odd = rail_model_->picture().version % 2 == 1;
  return odd && alternative != nullptr ? alternative : parts_.script->plans[next_][rank];
}

Status SimRank::begin_pairwise(TimeNs now) {
  const auto ranks = workload_.ranks;
  const int shift = workload_.operations[next_].root;
  auto group = std::make_shared<Operation>();
  group->transfers = {{.is_send = true,
                       .peer = (parts_.rank + shift) % ranks,
                       .buffer = const_cast<std::byte*>(call_.input),
                       .count = call_.count,
                       .type = call_.type},
                      {.is_send = false,
                       .peer = (parts_.rank + ranks - shift) % ranks,
                       .buffer = call_.output,
                       .count = call_.count,
                       .type = call_.type}};
  return p2p_->begin(group, now);
}

Result<bool> SimRank::step_operation(TimeNs now) {
  bool moved = false;
  bool finished = false;
  if (is_pairwise()) {
    RAILCCL_ASSIGN(moved, p2p_->step(now));
    finished = !p2p_->take_finished().empty();
  } else {
    RAILCCL_ASSIGN(moved, executor_->step(now));
    finished = executor_->finished();
  }
  if (finished) finish_operation(now);
  return moved || finished;
}

// The user has his buffers back: looks at the result, then uses them for something else.
void SimRank::finish_operation(TimeNs now) {
  check_result();
  parts_.watch->open_buffer(call_.output, false);
  std::fill(input_.begin(), input_.end(), kPoison);
  std::fill(output_.begin(), output_.end(), kPoison);
  ++next_;
  next_operation(now);
}

void SimRank::check_result() {
  const uint64_t bytes = output_bytes(call_, parts_.rank, workload_.ranks);
  const std::span<const std::byte> result(call_.output, bytes);
  std::vector<std::byte>& expected =
      parts_.script->results[next_][static_cast<size_t>(parts_.rank)];
  if (parts_.record) {
    expected.assign(result.begin(), result.end());
    return;
  }
  const auto [wrong, right] = std::mismatch(result.begin(), result.end(), expected.begin());
  if (wrong == result.end()) return;
  parts_.judge->violation(now_,
                          "operation {} ({}) on rank {}: byte {} of {} differs from the run "
                          "without faults",
                          next_, to_string(call_.fingerprint()), parts_.rank,
                          wrong - result.begin(), bytes);
}

}  // namespace railccl::simulate
