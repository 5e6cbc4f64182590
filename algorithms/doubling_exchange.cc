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

// What the participants do with each other. Every round sends from a place of its own: its partner
// may still be reading when the last round ends.
class Rounds {
 public:
  Rounds(Builder& b, const Group& group, const Extent& extent, const GroupData& data)
      : b_(b),
        group_(group),
        extent_(extent),
        data_(data),
        participants_(group.size()),
        me_(participants_.of_member(group.me)) {}

  // `mine` is this participant's part; what a round receives is in `received`, `slot` apart.
  void run(Slice mine, uint64_t received, uint64_t slot) {
    const uint64_t count = extent_.part.count;
    const int rounds = participants_.rounds();
    for (int round = 0; round < rounds; ++round) {
      const Slice theirs = b_.scratch(received + static_cast<uint64_t>(round) * slot);
      const int other = partner(round);
      b_.wait_released_by(other, 1 + round);
      b_.put(other, mine, theirs, count, Phase::kReduce, round);
      b_.wait(other, Phase::kReduce, round);
      const bool lower = (me_ >> round & 1) == 0;
      const Slices pair = lower ? Slices{mine, theirs} : Slices{theirs, mine};
      if (round + 1 == rounds) {
        b_.reduce(data_.results(extent_), pair, count, true);
      } else {
        mine = b_.scratch(b_.allocate(slot));
        b_.reduce({mine}, pair, count, false);
      }
    }
  }
  void release() {
    for (int round = 0; round < participants_.rounds(); ++round) {
      b_.release_to(partner(round), 1 + round);
    }
  }

 private:
  int partner(int round) const { return group_.at(participants_.to_member(me_ ^ (1 << round))); }

  Builder& b_;
  const Group& group_;
  const Extent& extent_;
  const GroupData& data_;
  Participants participants_;
  int me_;
};

}  // namespace

void doubling_all_reduce(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                         const GroupData& data) {
  const uint64_t count = extent.part.count;
  if (group.size() == 1) {
    return b.reduce(data.results(extent), data.sources(extent), count, true);
  }
  const Participants participants(group.size());
  // Scratch: what the folded partner gives, what each round receives, what each round sends.
  const uint64_t fold = b.allocate(slot);
  const uint64_t received = b.allocate(static_cast<uint64_t>(participants.rounds()) * slot);
  const bool folded = group.me < participants.folded;
  if (folded && group.me % 2 == 1) {
    const int partner = group.at(group.me - 1);
    give_to_partner(b, partner, extent, data, received, fold);
    take_from_partner(b, partner, extent, data, fold);
    return;
  }
  const int partner = folded ? group.at(group.me + 1) : kSelf;
  Slices sources = data.sources(extent);
  if (folded) {
    b.wait(partner, Phase::kFold);
    sources.push_back(b.scratch(fold));
  }
  // In place even a lone input is sent from a copy, since the result will overwrite it.
  Slice mine = sources[0];
  if (sources.size() > 1 || mine.owner != kSelf || b.shape().in_place) {
    mine = b.scratch(b.allocate(slot));
    b.reduce({mine}, sources, count, false);
  }
  Rounds rounds(b, group, extent, data);
  rounds.run(mine, received, slot);
  if (folded) {
    const Slice place = data.landing(extent);
    b.put(partner, place, b.lands_in_output(partner) ? place : b.scratch(fold), count,
          Phase::kUnfold);
    b.release_to(partner, 0);
  }
  rounds.release();
}

}  // namespace railccl::algorithms
