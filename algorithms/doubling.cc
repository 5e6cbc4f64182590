// Recursive doubling over all ranks, in node order: the first rounds stay inside nodes where node
// sizes are powers of two. Every round moves the whole piece, so it is for small data.
#include "algorithms/algorithms.h"
#include "algorithms/exchange.h"
#include "algorithms/participants.h"
#include "algorithms/rounds.h"

namespace railccl::algorithms::doubling {

std::string unsuitable(const Shape&) { return ""; }

Schedule all_reduce(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  Builder b(shape, rank);
  const GroupData data{.sources = [&](const Extent& e) { return Slices{b.input(e.part.begin)}; },
                       .results = [&](const Extent& e) { return Slices{b.output(e.part.begin)}; },
                       .landing = [&](const Extent& e) { return b.output(e.part.begin); }};
  doubling_all_reduce(b, all_ranks(b), {.part = b.piece()}, b.max_piece(), data);
  return b.take();
}

Cost cost(const Shape& shape) {
  const Layout& layout = *shape.layout;
  const int n = layout.ranks();
  const Participants participants(n);
  RoundCost messages(layout);
  const auto rank_at = [&](int member) { return layout.order[static_cast<size_t>(member)]; };
  for (int member = 0; member < participants.folded; member += 2) {
    messages.message(rank_at(member + 1), rank_at(member), 1);
    messages.reduce(rank_at(member), 1);
  }
  for (int round = 0; round < participants.rounds(); ++round) {
    messages.next_round();
    for (int participant = 0; participant < participants.count; ++participant) {
      const int from = rank_at(participants.to_member(participant));
      messages.message(from, rank_at(participants.to_member(participant ^ (1 << round))), 1);
      messages.reduce(from, 1);
    }
  }
  messages.next_round();
  for (int member = 0; member < participants.folded; member += 2) {
    messages.message(rank_at(member), rank_at(member + 1), 1);
  }
  Cost cost = messages.total();
  if (n == 1) return cost;
  // What is received per round and by folding in, then what is sent: from a copy in place and
  // where a partner was folded in.
  const int sent = participants.rounds() - (shape.in_place || participants.folded > 0 ? 0 : 1);
  cost.scratch = 1 + participants.rounds() + sent;
  return cost;
}

}  // namespace railccl::algorithms::doubling
