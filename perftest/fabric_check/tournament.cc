#include "perftest/fabric_check/tournament.h"

#include <algorithm>

namespace railccl::perftest::fabric {

// One node stays, the others move one place around the circle with each round; opposites meet. With
// an odd number the place that stays is empty.
std::vector<Round> tournament(int nodes) {
  const int places = nodes + nodes % 2;
  const int moving = places - 1;
  std::vector<Round> rounds;
  for (int turn = 0; nodes > 1 && turn < moving; ++turn) {
    Round round;
    if (nodes % 2 == 0) round.emplace_back(turn, moving);
    for (int step = 1; step <= (moving - 1) / 2; ++step) {
      const int one = (turn + step) % moving;
      const int other = (turn - step + moving) % moving;
      round.emplace_back(std::min(one, other), std::max(one, other));
    }
    std::sort(round.begin(), round.end());
    rounds.push_back(std::move(round));
  }
  return rounds;
}

std::vector<NodePair> all_pairs(int nodes) {
  std::vector<NodePair> pairs;
  for (int node = 0; node < nodes; ++node) {
    for (int other = node + 1; other < nodes; ++other) pairs.emplace_back(node, other);
  }
  return pairs;
}

std::vector<Round> spread_rounds(std::vector<Round> rounds, int limit) {
  const auto all = rounds.size();
  const auto kept = static_cast<size_t>(limit);
  if (limit <= 0 || kept >= all) return rounds;
  std::vector<Round> chosen;
  for (size_t i = 0; i < kept; ++i) chosen.push_back(std::move(rounds[i * all / kept]));
  return chosen;
}

}  // namespace railccl::perftest::fabric
