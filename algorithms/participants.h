// Who takes part in recursive doubling when the number of members is not a power of two. Pure.
#pragma once

#include <algorithm>
#include <bit>

namespace railccl::algorithms {

// Members 2k and 2k + 1 below `folded` make one participant, as does every member from there on.
struct Participants {
  int count = 0;   // a power of two
  int folded = 0;  // members
  explicit Participants(int members)
      : count(static_cast<int>(std::bit_floor(static_cast<unsigned>(members)))),
        folded(2 * (members - count)) {}
  int of_member(int member) const { return member < folded ? member / 2 : member - folded / 2; }
  // The member that speaks for a participant.
  int to_member(int participant) const {
    return participant < folded / 2 ? 2 * participant : participant + folded / 2;
  }
  // Of a folded pair the first takes the second in, and speaks for both.
  bool takes_in(int member) const { return member < folded && member % 2 == 0; }
  bool is_taken_in(int member) const { return member < folded && member % 2 == 1; }
  // Messages one after another. A path moves on in the rounds where its ends differ; between two
  // folded members there is one more at either end.
  int longest_path() const {
    if (folded == 0) return rounds();
    return std::max(1 + rounds(),
                    2 + static_cast<int>(std::bit_width(static_cast<unsigned>(folded / 2 - 1))));
  }
  int rounds() const { return std::bit_width(static_cast<unsigned>(count)) - 1; }
};

}  // namespace railccl::algorithms
