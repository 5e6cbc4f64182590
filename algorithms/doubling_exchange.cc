#include "algorithms/exchange.h"
#include "algorithms/participants.h"

namespace railccl::algorithms {
namespace {

void give_to_partner(Builder& b, int partner, const Extent& extent, const GroupData& data,
                     uint64_t own, uint64_t slot) {
  const Slices sources = data.sources(extent);
  Slice from = b.scratch(own);
  if (sources.size() == 1 && sources[0].owner == kSelf) {
    from = sources[0];
  } else {
    b.reduce({from}, sources, extent.part.count, false);
  }
  b.wait_released_by(partner, 0);
  b.put(partner, from, b.scratch(slot), extent.part.count, Phase::kFold);
}

void take_from_partner(Builder& b, int partner, const Extent& extent, const GroupData& data,
                       uint64_t landed) {
  const bool in_output = b.lands_in_output(partner);
  const Slice place = data.landing(extent);
  b.wait(partner, Phase::kUnfold);
  b.copy(data.results(extent), in_output ? place : b.scratch(landed), extent.part.count);
}

}  // namespace

void doubling_all_reduce(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                         const GroupData& data) {
  const uint64_t count = extent.part.count;
  if (group.size() == 1) {
    return b.reduce(data.results(extent), data.sources(extent), count, true);
  }
  const Participants participants(group.size());
  const int rounds = participants.rounds();
  // Scratch: what the folded partner gives, what each round receives, what each round sends.
  const uint64_t fold = b.allocate(slot);
  const uint64_t received = b.allocate(static_cast<uint64_t>(rounds) * slot);
  const bool folded = group.me < participants.folded;
  if (folded && group.me % 2 == 1) {
    const int partner = group.at(group.me - 1);
    give_to_partner(b, partner, extent, data, received, fold);
    take_from_partner(b, partner, extent, data, fold);
    return;
  }
  Slices sources = data.sources(extent);
  if (folded) {
    b.wait(group.at(group.me + 1), Phase::kFold);
    sources.push_back(b.scratch(fold));
  }
  const Slices results = data.results(extent);
  // A partner may still read what a round sent when the last one ends, so each has its own place,
  // and in place even the input is sent from a copy.
  Slice mine = sources[0];
  if (sources.size() > 1 || mine.owner != kSelf || b.shape().in_place) {
    mine = b.scratch(b.allocate(slot));
    b.reduce({mine}, sources, count, false);
  }
  const int participant = participants.of_member(group.me);
  for (int round = 0; round < rounds; ++round) {
    const int other = participant ^ (1 << round);
    const int partner = group.at(participants.to_member(other));
    const Slice theirs = b.scratch(received + static_cast<uint64_t>(round) * slot);
    b.wait_released_by(partner, 1 + round);
    b.put(partner, mine, theirs, count, Phase::kReduce, round);
    b.wait(partner, Phase::kReduce, round);
    const Slices pair = participant < other ? Slices{mine, theirs} : Slices{theirs, mine};
    if (round + 1 == rounds) {
      b.reduce(results, pair, count, true);
    } else {
      mine = b.scratch(b.allocate(slot));
      b.reduce({mine}, pair, count, false);
    }
  }
  if (folded) {
    const int partner = group.at(group.me + 1);
    const Slice place = data.landing(extent);
    b.put(partner, place, b.lands_in_output(partner) ? place : b.scratch(fold), count,
          Phase::kUnfold);
    b.release_to(partner, 0);
  }
  for (int round = 0; round < rounds; ++round) {
    b.release_to(group.at(participants.to_member(participant ^ (1 << round))), 1 + round);
  }
}

}  // namespace railccl::algorithms
