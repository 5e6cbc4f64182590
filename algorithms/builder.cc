#include "algorithms/builder.h"

#include "algorithms/buffers.h"

namespace railccl::algorithms {
namespace {

uint32_t tag_of(Phase phase, int step) {
  return static_cast<uint32_t>(step) * kPhases + static_cast<uint32_t>(phase);
}

}  // namespace

uint64_t Builder::allocate(uint64_t elements) {
  const uint64_t offset = schedule_.scratch_elements;
  schedule_.scratch_elements += elements;
  return offset;
}

void Builder::put(int peer, Slice src, Slice dst, uint64_t count, Phase phase, int step) {
  if (count == 0) return signal(peer, phase, step);
  add({.kind = StepKind::kPut, .peer = peer, .tag = tag_of(phase, step), .count = count}, {dst},
      {src});
}

void Builder::signal(int peer, Phase phase, int step) {
  add({.kind = StepKind::kSignal, .peer = peer, .tag = tag_of(phase, step)}, {}, {});
}

void Builder::wait(int peer, Phase phase, int step) {
  add({.kind = StepKind::kWait, .peer = peer, .tag = tag_of(phase, step)}, {}, {});
}

void Builder::release_to(int peer, int step) {
  add({.kind = StepKind::kSignal,
       .peer = peer,
       .tag = tag_of(Phase::kRelease, step),
       .previous_lap = true},
      {}, {});
}

void Builder::wait_released_by(int peer, int step) {
  add({.kind = StepKind::kWait,
       .peer = peer,
       .tag = tag_of(Phase::kRelease, step),
       .previous_lap = true},
      {}, {});
}

void Builder::reduce(const Slices& dsts, const Slices& srcs, uint64_t count, bool final) {
  if (srcs.size() == 1) return copy(dsts, srcs[0], count);
  if (count == 0) return;
  add({.kind = StepKind::kReduce, .final = final, .count = count}, dsts, srcs);
}

void Builder::copy(const Slices& dsts, Slice src, uint64_t count) {
  Slices others;
  for (const Slice& dst : dsts) {
    if (!same_place(dst, src)) others.push_back(dst);
  }
  if (count == 0 || others.empty()) return;
  add({.kind = StepKind::kCopy, .count = count}, others, {src});
}

// Of another rank it is not known whether its call is in place; the executor finds out.
bool Builder::same_place(const Slice& a, const Slice& b) const {
  if (a.owner != b.owner) return false;
  const bool own = a.owner == kSelf || a.owner == rank_;
  const Slice x = own ? canonical(shape_, rank_, a) : a;
  const Slice y = own ? canonical(shape_, rank_, b) : b;
  return x.buffer == y.buffer && x.offset == y.offset;
}

void Builder::add(Step step, const Slices& dsts, const Slices& srcs) {
  step.first_slice = static_cast<uint32_t>(schedule_.slices.size());
  step.num_dsts = static_cast<uint16_t>(dsts.size());
  step.num_srcs = static_cast<uint16_t>(srcs.size());
  schedule_.slices.insert(schedule_.slices.end(), dsts.begin(), dsts.end());
  schedule_.slices.insert(schedule_.slices.end(), srcs.begin(), srcs.end());
  schedule_.steps.push_back(step);
}

}  // namespace railccl::algorithms
