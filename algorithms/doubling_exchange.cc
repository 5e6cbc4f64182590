#include "algorithms/exchange.h"
#include "algorithms/participants.h"

namespace railccl::algorithms {
namespace {

// What may be sent as it stands.
bool is_one_of_own(const Slices& sources) {
  return sources.size() == 1 && sources[0].owner == kSelf;
}

void give_to_partner(Builder& b, int partner, const Extent& extent, const GroupData& data,
                     uint64_t own, uint64_t slot) {
  const Slices sources = data.sources(extent);
  Slice from = b.scratch(own);
  if (is_one_of_own(sources)) {
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

// One participant, and the others by round.
class Participant {
 public:
  explicit Participant(const Group& group)
      : group_(group), participants_(group.size()), me_(participants_.of_member(group.me)) {}
  const Participants& participants() const { return participants_; }
  int me() const { return me_; }
  // The rank whose participant differs in this bit.
  int partner(int bit) const { return group_.at(participants_.to_member(me_ ^ (1 << bit))); }
  bool lower(int bit) const { return (me_ >> bit & 1) == 0; }

 private:
  const Group& group_;
  Participants participants_;
  int me_;
};

// Each round exchanges and reduces everything, and sends from a place of its own: its partner may
// still be reading when the last round ends.
class Doubling : public Participant {
 public:
  static constexpr bool kOverwrites = true;  // what is sent first, where it is in place

  Doubling(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
           const GroupData& data)
      : Participant(group),
        b_(b),
        extent_(extent),
        slot_(slot),
        data_(data),
        received_(b.allocate(static_cast<uint64_t>(participants().rounds()) * slot)) {}

  void run(Slice mine) {
    const uint64_t count = extent_.part.count;
    const int rounds = participants().rounds();
    for (int round = 0; round < rounds; ++round) {
      const Slice theirs = b_.scratch(received_ + static_cast<uint64_t>(round) * slot_);
      const int other = partner(round);
      b_.wait_released_by(other, 1 + round);
      b_.put(other, mine, theirs, count, Phase::kReduce, round);
      b_.wait(other, Phase::kReduce, round);
      const Slices pair = lower(round) ? Slices{mine, theirs} : Slices{theirs, mine};
      if (round + 1 == rounds) {
        b_.reduce(data_.results(extent_), pair, count, true);
      } else {
        mine = b_.scratch(b_.allocate(slot_));
        b_.reduce({mine}, pair, count, false);
      }
    }
  }
  void release() {
    for (int round = 0; round < participants().rounds(); ++round) {
      b_.release_to(partner(round), 1 + round);
    }
  }

 private:
  Builder& b_;
  const Extent& extent_;
  uint64_t slot_;
  const GroupData& data_;
  uint64_t received_;
};

// Each round exchanges and reduces half of what the one before left, until every participant has a
// part of its own; then they collect the parts, the same way back. Who has a partner's part back
// knows that the partner needs nothing any more of what he was sent, so nothing is released.
class Halving : public Participant {
 public:
  static constexpr bool kOverwrites = false;  // others write what they were sent, and not before

  Halving(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
          const GroupData& data)
      : Participant(group), b_(b), extent_(extent), data_(data) {
    const uint64_t part = largest_part(slot, participants().count);
    for (int bit = 0; bit < participants().rounds(); ++bit) {
      received_.push_back(b.allocate(part << bit));
    }
  }

  void run(Slice mine) {
    uint64_t begins = extent_.part.begin;  // what `mine` has of the extent
    for (int bit = participants().rounds() - 1; bit >= 0; --bit) {
      const Part kept = parts_of(me(), bit).part;
      const Part given = parts_of(me() ^ (1 << bit), bit).part;
      const Slice theirs = b_.scratch(received_[static_cast<size_t>(bit)]);
      b_.put(partner(bit), moved(mine, given.begin - begins), theirs, given.count, Phase::kReduce,
             bit);
      b_.wait(partner(bit), Phase::kReduce, bit);
      mine = moved(mine, kept.begin - begins);
      const Slices pair = lower(bit) ? Slices{mine, theirs} : Slices{theirs, mine};
      if (bit == 0) {
        b_.reduce(data_.results(parts_of(me(), 0)), pair, kept.count, true);
      } else {
        b_.reduce({theirs}, pair, kept.count, false);
      }
      mine = theirs;
      begins = kept.begin;
    }
    collect();
  }
  void release() {}

 private:
  // Where the parts of the participants lie that agree with this one in all bits from `bit` on.
  Extent parts_of(int participant, int bit) const {
    const int first = participant >> bit << bit;
    const Part begin = even_part(extent_.part, participants().count, first);
    const Part last = even_part(extent_.part, participants().count, first + (1 << bit) - 1);
    return {.block = extent_.block,
            .part = {.begin = begin.begin, .count = last.begin + last.count - begin.begin},
            .number = extent_.number};
  }
  static Slice moved(Slice slice, uint64_t elements) {
    slice.offset += elements;
    return slice;
  }
  void collect() {
    for (int bit = 0; bit < participants().rounds(); ++bit) {
      const Extent own = parts_of(me(), bit);
      const Slice place = data_.landing(own);
      b_.put(partner(bit), place, place, own.part.count, Phase::kGather, bit);
      b_.wait(partner(bit), Phase::kGather, bit);
    }
    // What goes on to others did so first.
    const Part own = parts_of(me(), 0).part;
    const uint64_t end = extent_.part.begin + extent_.part.count;
    copy_landed({.begin = extent_.part.begin, .count = own.begin - extent_.part.begin});
    copy_landed({.begin = own.begin + own.count, .count = end - own.begin - own.count});
  }
  void copy_landed(Part part) {
    const Extent landed{.block = extent_.block, .part = part, .number = extent_.number};
    b_.copy(data_.results(landed), data_.landing(landed), part.count);
  }

  Builder& b_;
  const Extent& extent_;
  const GroupData& data_;
  std::vector<uint64_t> received_;  // by bit
};

// Folds in the members above the power of two, lets the participants do their `Rounds`, and gives
// the result to those that were folded in.
template <typename Rounds>
void all_reduce_by(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                   const GroupData& data) {
  const uint64_t count = extent.part.count;
  if (group.size() == 1) {
    return b.reduce(data.results(extent), data.sources(extent), count, true);
  }
  // Scratch: what the folded partner gives, what each round receives, what is sent first.
  const uint64_t fold = b.allocate(slot);
  Rounds rounds(b, group, extent, slot, data);
  const Participants& participants = rounds.participants();
  if (participants.is_taken_in(group.me)) {
    const int partner = group.at(group.me - 1);
    give_to_partner(b, partner, extent, data, b.allocate(slot), fold);
    take_from_partner(b, partner, extent, data, fold);
    return;
  }
  const bool takes_in = participants.takes_in(group.me);
  const int partner = takes_in ? group.at(group.me + 1) : kSelf;
  Slices sources = data.sources(extent);
  if (takes_in) {
    b.wait(partner, Phase::kFold);
    sources.push_back(b.scratch(fold));
  }
  Slice mine = sources[0];
  if (!is_one_of_own(sources) || (Rounds::kOverwrites && b.shape().in_place)) {
    mine = b.scratch(b.allocate(slot));
    b.reduce({mine}, sources, count, false);
  }
  rounds.run(mine);
  if (takes_in) {
    const Slice place = data.landing(extent);
    b.put(partner, place, b.lands_in_output(partner) ? place : b.scratch(fold), count,
          Phase::kUnfold);
    b.release_to(partner, 0);
  }
  rounds.release();
}

// Consecutive elements of a user's buffer; in scratch each extent has room for the largest piece.
struct Run {
  Extent extent;
  uint64_t packed = 0;  // elements of scratch before it
};

// What some members have. Where whole blocks are exchanged, those that follow each other are one;
// the same for all pieces.
std::vector<Run> runs_of(const Builder& b, const Chunks& chunks, int first, int count) {
  const bool whole = b.max_piece() == b.shape().block;
  std::vector<Run> runs;
  uint64_t next = 0;  // the block behind the last run
  uint64_t packed = 0;
  for (int member = first; member < first + count; ++member) {
    for (const Extent& extent : chunks.of(member)) {
      if (whole && !runs.empty() && extent.block == next) {
        runs.back().extent.part.count += extent.part.count;
      } else {
        runs.push_back({.extent = extent, .packed = packed});
      }
      next = extent.block + 1;
      packed += b.max_piece();
    }
  }
  return runs;
}

// Of the members that agree with `member` but for its lowest bits, the first.
int first_of(int member, int size) { return member / size * size; }

// Each round sends what the partner's half of the members ends with, and reduces what the own half
// does with what the partner sent.
class HalvingScatter {
 public:
  HalvingScatter(Builder& b, const Group& group, const Chunks& chunks, const GroupData& data)
      : b_(b), group_(group), chunks_(chunks), data_(data) {
    const auto half = static_cast<uint64_t>(group.size() / 2);
    for (uint64_t size = half; size >= 1; size /= 2) {
      received_.push_back(b.allocate(size * chunks.slot));
    }
    if (!is_one_of_own(data.sources(chunks.of(group.me)[0]))) {
      reduced_ = b.allocate(half * chunks.slot);
    }
  }

  void run() {
    int round = 0;
    for (int size = group_.size() / 2; size >= 1; size /= 2) {
      give(round, size);
      take(round, size);
      ++round;
    }
    for (int size = 1; size < group_.size(); size *= 2) b_.release_to(partner(size), --round);
  }

 private:
  int partner(int size) const { return group_.at(group_.me ^ size); }
  Slice received(int round, const Run& run) const {
    return b_.scratch(received_[static_cast<size_t>(round)] + run.packed);
  }
  // What this member has of a run of `size` members from `first` on before the round.
  Slices had(int round, int size, int first, const Run& run) const {
    if (round == 0) return data_.sources(run.extent);
    Slice slice = received(round - 1, run);
    for (int member = first_of(group_.me, 2 * size); member < first; ++member) {
      slice.offset += chunks_.of(member).size() * b_.max_piece();
    }
    return {slice};
  }
  void give(int round, int size) {
    const int first = first_of(group_.me ^ size, size);
    b_.wait_released_by(partner(size), round);
    for (const Run& run : runs_of(b_, chunks_, first, size)) {
      const uint64_t count = run.extent.part.count;
      const Slices mine = had(round, size, first, run);
      Slice from = mine[0];
      if (!is_one_of_own(mine)) {
        from = b_.scratch(reduced_ + run.packed);
        b_.reduce({from}, mine, count, false);
      }
      b_.put(partner(size), from, received(round, run), count, Phase::kReduce, run.extent.number);
    }
  }
  void take(int round, int size) {
    const int first = first_of(group_.me, size);
    for (const Run& run : runs_of(b_, chunks_, first, size)) {
      b_.wait(partner(size), Phase::kReduce, run.extent.number);
      if (size > 1) add(round, size, run, {received(round, run)});
    }
    if (size > 1) return;
    Run own;
    for (const Extent& extent : chunks_.of(group_.me)) {
      own.extent = extent;
      add(round, size, own, data_.results(extent));
      own.packed += b_.max_piece();
    }
  }
  // The lower members' first.
  void add(int round, int size, const Run& run, const Slices& to) {
    Slices sum = had(round, size, first_of(group_.me, size), run);
    const bool lower = (group_.me & size) == 0;
    sum.insert(lower ? sum.end() : sum.begin(), received(round, run));
    b_.reduce(to, sum, run.extent.part.count, size == 1);
  }

  Builder& b_;
  const Group& group_;
  const Chunks& chunks_;
  const GroupData& data_;
  std::vector<uint64_t> received_;  // by round
  uint64_t reduced_ = 0;  // what is given in the first round, where it is not as it stands
};

}  // namespace

void doubling_all_gather(Builder& b, const Group& group, const Chunks& chunks,
                         const GroupData& data) {
  const int n = group.size();
  for (int size = 1; size < n; size *= 2) {
    const int partner = group.me ^ size;
    const int other = group.at(partner);
    for (const auto& [run, _] : runs_of(b, chunks, first_of(group.me, size), size)) {
      const Slice place = data.landing(run);
      b.put(other, place, place, run.part.count, Phase::kGather, run.number);
    }
    for (const auto& [run, _] : runs_of(b, chunks, first_of(partner, size), size)) {
      b.wait(other, Phase::kGather, run.number);
    }
  }
  for (int member = 0; member < n; ++member) {
    if (member == group.me) continue;
    for (const Extent& extent : chunks.of(member)) {
      b.copy(data.results(extent), data.landing(extent), extent.part.count);
    }
  }
}

void halving_reduce_scatter(Builder& b, const Group& group, const Chunks& chunks,
                            const GroupData& data) {
  HalvingScatter(b, group, chunks, data).run();
}

void doubling_all_reduce(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                         const GroupData& data) {
  all_reduce_by<Doubling>(b, group, extent, slot, data);
}

void halving_all_reduce(Builder& b, const Group& group, const Extent& extent, uint64_t slot,
                        const GroupData& data) {
  all_reduce_by<Halving>(b, group, extent, slot, data);
}

}  // namespace railccl::algorithms
