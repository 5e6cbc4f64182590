// What the hierarchical algorithms cost; see hierarchical.cc for how they work.
#include <algorithm>
#include <bit>
#include <vector>

#include "algorithms/algorithms.h"
#include "algorithms/node_stage.h"
#include "algorithms/participants.h"
#include "algorithms/rounds.h"

namespace railccl::algorithms::hierarchical {
namespace {

// What the formulas are made of.
struct Terms {
  int nodes = 1;
  int columns = 1;
  double share = 1;        // of the piece that a column has
  std::vector<int> sizes;  // ranks, by node
  int largest = 1;
  int root_node = 0;
  bool staged = false;  // mirrors are in use

  // Blocks of a node's ranks that are in its first column, which has most.
  int blocks(int node) const { return (sizes[static_cast<size_t>(node)] + columns - 1) / columns; }
  int all_blocks() const {
    int sum = 0;
    for (int node = 0; node < nodes; ++node) sum += blocks(node);
    return sum;
  }
  int size(int node) const { return sizes[static_cast<size_t>(node)]; }
};

Terms terms_of(const Shape& shape) {
  Terms t;
  const Layout& layout = *shape.layout;
  t.nodes = layout.nodes();
  t.columns = columns_of(layout);
  t.share = 1.0 / t.columns;
  for (const auto& members : layout.ranks_of) t.sizes.push_back(static_cast<int>(members.size()));
  t.largest = *std::max_element(t.sizes.begin(), t.sizes.end());
  t.root_node = layout.node_of[static_cast<size_t>(shape.root)];
  t.staged = !shape.direct && t.largest > 1;
  return t;
}

// The largest value of a function of the node.
template <typename OfNode>
double most(const Terms& t, OfNode of_node) {
  double largest = 0;
  for (int node = 0; node < t.nodes; ++node) {
    largest = std::max(largest, static_cast<double>(of_node(node)));
  }
  return largest;
}

// Messages of a node's barriers, one after another.
uint32_t barriers(const Terms& t) {
  const auto rounds = static_cast<uint32_t>(std::bit_width(static_cast<unsigned>(t.largest - 1)));
  return rounds * (t.staged ? 2 : 1);
}

Cost all_reduce(const Terms& t) {
  const double n = t.nodes;
  Cost cost;
  cost.latency_steps_inter = static_cast<uint32_t>(2 * (t.nodes - 1));
  cost.latency_steps_local = barriers(t);
  cost.bytes_sent_inter = 2 * (n - 1) / n * t.share;
  cost.largest_put = t.nodes > 1 ? t.share / n : 0;
  cost.bytes_sent_local = 2 * (t.largest - 1) * t.share;
  cost.elements_reduced = (t.largest - 1 / n) * t.share;
  cost.scratch = (t.staged ? 1 : 0) + (t.nodes > 1 ? t.share : 0);
  return cost;
}

Cost all_gather(const Terms& t, int ranks) {
  const int all = t.all_blocks();
  Cost cost;
  cost.latency_steps_inter = static_cast<uint32_t>(t.nodes - 1);
  cost.latency_steps_local = barriers(t);
  cost.bytes_sent_inter =
      t.nodes == 1 ? 0 : most(t, [&](int node) { return all - t.blocks(node); });
  cost.largest_put = t.nodes > 1 ? 1 : 0;
  // Stores for the others of the node; blocks of others in the own column are loaded, too.
  cost.bytes_sent_local = most(t, [&](int node) {
    const int others = t.size(node) - 1;
    const int loaded = t.blocks(node) - 1;
    return all * others + (t.staged ? 0 : loaded);
  });
  cost.scratch = t.staged ? ranks : 0;
  return cost;
}

Cost reduce_scatter(const Terms& t, int ranks) {
  const int all = t.all_blocks();
  Cost cost;
  cost.latency_steps_inter = static_cast<uint32_t>(t.nodes - 1);
  cost.latency_steps_local = barriers(t);
  cost.bytes_sent_inter =
      t.nodes == 1 ? 0 : most(t, [&](int node) { return all - t.blocks(node); });
  cost.largest_put = t.nodes > 1 ? 1 : 0;
  cost.bytes_sent_local =
      most(t, [&](int node) { return all * (t.size(node) - 1) + t.blocks(node) - 1; });
  // The chunk that is sent first has one source less.
  cost.elements_reduced = most(
      t, [&](int node) { return all * t.size(node) - t.blocks((node - 1 + t.nodes) % t.nodes); });
  const double slots = most(t, [&](int node) { return t.blocks(node); }) * t.nodes;
  cost.scratch = (t.staged ? ranks : 0) + (t.nodes > 1 ? slots : 0);
  return cost;
}

Cost broadcast(const Terms& t, bool root_is_only_owner) {
  Cost cost;
  cost.latency_steps_inter = static_cast<uint32_t>(t.nodes - 1);
  cost.latency_steps_local = barriers(t);
  cost.bytes_sent_inter = t.nodes > 1 ? t.share : 0;
  cost.largest_put = cost.bytes_sent_inter;
  cost.path_elements_inter = (t.nodes - 1) * t.share;
  cost.bytes_sent_local = t.share * most(t, [&](int node) {
                            const bool loads = node == t.root_node && !root_is_only_owner;
                            return t.size(node) - 1 + (loads && !t.staged ? 1 : 0);
                          });
  cost.scratch = t.staged ? 1 : 0;
  return cost;
}

Cost reduce(const Terms& t, bool root_is_only_owner) {
  const int farthest = (t.root_node - 1 + t.nodes) % t.nodes;
  Cost cost;
  cost.latency_steps_inter = static_cast<uint32_t>(t.nodes - 1);
  cost.latency_steps_local = barriers(t);
  cost.bytes_sent_inter = t.nodes > 1 ? t.share : 0;
  cost.largest_put = cost.bytes_sent_inter;
  cost.path_elements_inter = (t.nodes - 1) * t.share;
  cost.bytes_sent_local = t.share * most(t, [&](int node) {
                            const bool stores = node == t.root_node && !root_is_only_owner;
                            return t.size(node) - 1 + (stores ? 1 : 0);
                          });
  cost.elements_reduced =
      t.share * most(t, [&](int node) { return t.size(node) - (node == farthest ? 1 : 0); });
  cost.scratch = (t.staged ? 1 : 0) + (t.nodes > 1 ? t.share : 0);
  return cost;
}

// What a column has of some nodes.
struct Blocks {
  double all = 0;
  double longest_run = 0;  // one behind the other
};

// By aligned groups of `size` nodes.
std::vector<Blocks> blocks_of_groups(const Layout& layout, int columns, int column, int size) {
  std::vector<Blocks> groups(static_cast<size_t>(layout.nodes() / size));
  for (size_t group = 0; group < groups.size(); ++group) {
    double run = 0;
    int next = 0;
    for (size_t node = group * static_cast<size_t>(size);
         node < (group + 1) * static_cast<size_t>(size); ++node) {
      const std::vector<int>& members = layout.ranks_of[node];
      for (size_t i = static_cast<size_t>(column); i < members.size();
           i += static_cast<size_t>(columns)) {
        run = run > 0 && members[i] == next ? run + 1 : 1;
        next = members[i] + 1;
        ++groups[group].all;
        groups[group].longest_run = std::max(groups[group].longest_run, run);
      }
    }
  }
  return groups;
}

// `cost`, with rounds between nodes in which pairs, `size` nodes apart, tell each other what the
// group of one of them has: of the sender, who has it, or of its partner, who reduces it.
Cost with_rounds(const Shape& shape, const Terms& t, Cost cost, const std::vector<int>& sizes,
                 bool reduces) {
  const Layout& layout = *shape.layout;
  RoundCost rounds(layout);
  const int all = t.all_blocks();  // of column 0, which has most
  for (int node = 0; reduces && node < t.nodes; ++node) {
    rounds.reduce(layout.ranks_of[static_cast<size_t>(node)][0], all * (t.size(node) - 1));
  }
  for (const int size : sizes) {
    for (int column = 0; column < t.columns; ++column) {
      const auto groups = blocks_of_groups(layout, t.columns, column, size);
      const auto owner = [&](int node) {
        return layout.ranks_of[static_cast<size_t>(node)][static_cast<size_t>(column)];
      };
      for (int node = 0; node < t.nodes; ++node) {
        const int partner = node ^ size;
        const Blocks& told = groups[static_cast<size_t>((reduces ? partner : node) / size)];
        const double largest = shape.piece == shape.block ? told.longest_run : 1;
        rounds.message(owner(node), owner(partner), told.all, largest);
        if (reduces) rounds.reduce(owner(partner), told.all);
      }
    }
    rounds.next_round();
  }
  const Cost between = rounds.total();
  cost.latency_steps_inter = between.latency_steps_inter;
  cost.bytes_sent_inter = between.bytes_sent_inter;
  cost.path_elements_inter = between.path_elements_inter;
  cost.largest_put = between.largest_put;
  if (reduces) cost.elements_reduced = between.elements_reduced;
  return cost;
}

std::vector<int> distances(int nodes) {
  std::vector<int> sizes;
  for (int size = 1; size < nodes; size *= 2) sizes.push_back(size);
  return sizes;
}

}  // namespace

std::string unsuitable(const Shape& shape) {
  return shape.layout->nodes() == 1 ? "all ranks are on one node" : ring::unsuitable(shape);
}

std::string unsuitable_doubling(const Shape& shape) {
  const bool is_power = std::has_single_bit(static_cast<unsigned>(shape.layout->nodes()));
  return is_power ? unsuitable(shape) : "the number of nodes is no power of two";
}

std::string unsuitable_local(const Shape& shape) {
  return shape.layout->nodes() == 1 ? "" : "the ranks are on several nodes";
}

Cost cost(const Shape& shape) {
  const Terms t = terms_of(shape);
  const int ranks = shape.layout->ranks();
  const int root_index = shape.layout->local_index[static_cast<size_t>(shape.root)];
  const bool root_is_only_owner = t.columns == 1 && root_index == 0;
  switch (shape.collective) {
    case Collective::kAllGather:
      return all_gather(t, ranks);
    case Collective::kReduceScatter:
      return reduce_scatter(t, ranks);
    case Collective::kBroadcast:
      return broadcast(t, root_is_only_owner);
    case Collective::kReduce:
      return reduce(t, root_is_only_owner);
    default:
      return all_reduce(t);
  }
}

Cost cost_doubling(const Shape& shape) {
  const Terms t = terms_of(shape);
  const Participants participants(t.nodes);
  const int rounds = participants.rounds();
  const bool folds = participants.folded > 0;
  Cost cost = all_reduce(t);
  cost.latency_steps_inter = static_cast<uint32_t>(participants.longest_path());
  cost.bytes_sent_inter = t.share * (rounds + (folds ? 1 : 0));
  cost.path_elements_inter = t.share * cost.latency_steps_inter;
  cost.largest_put = t.share;
  cost.elements_reduced = t.share * most(t, [&](int node) {
                            return t.size(node) - 1 +
                                   (participants.is_taken_in(node) ? 0 : rounds) +
                                   (participants.takes_in(node) ? 1 : 0);
                          });
  // Received: by folding in, per round. Sent: per round but the last, and the first from a copy
  // unless it is one rank's input as it stands.
  const double slots = most(t, [&](int node) {
    const bool copies = t.size(node) > 1 || shape.in_place || participants.takes_in(node);
    return 1 + rounds + (participants.is_taken_in(node) ? 0 : rounds - 1 + (copies ? 1 : 0));
  });
  cost.scratch = (t.staged ? 1 : 0) + slots * t.share;
  return cost;
}

Cost cost_halving(const Shape& shape) {
  const Terms t = terms_of(shape);
  const Participants participants(t.nodes);
  const auto rounds = static_cast<uint32_t>(participants.rounds());
  const bool folds = participants.folded > 0;
  const double halved = 1 - 1.0 / participants.count;  // a half, a quarter, ...
  Cost cost = all_reduce(t);
  cost.latency_steps_inter = 2 * rounds + (folds ? 2 : 0);
  cost.bytes_sent_inter = t.share * (2 * halved + (folds ? 1 : 0));
  cost.path_elements_inter = t.share * (2 * halved + (folds ? 2 : 0));
  cost.largest_put = t.share * (folds ? 1 : 0.5);
  cost.elements_reduced = t.share * most(t, [&](int node) {
                            return t.size(node) - 1 +
                                   (participants.is_taken_in(node) ? 0 : halved) +
                                   (participants.takes_in(node) ? 1 : 0);
                          });
  // Received: by folding in, per round. Sent: a copy, unless it is one rank's input as it stands.
  const double slots = most(t, [&](int node) {
    const bool copies = t.size(node) > 1 || participants.takes_in(node);
    return 1 + halved + (copies ? 1 : 0);
  });
  cost.scratch = (t.staged ? 1 : 0) + slots * t.share;
  return cost;
}

Cost cost_gather_doubling(const Shape& shape) {
  const Terms t = terms_of(shape);
  return with_rounds(shape, t, all_gather(t, shape.layout->ranks()), distances(t.nodes), false);
}

Cost cost_scatter_halving(const Shape& shape) {
  const Terms t = terms_of(shape);
  std::vector<int> sizes = distances(t.nodes);
  std::ranges::reverse(sizes);
  Cost cost = reduce_scatter(t, shape.layout->ranks());
  // Received: per round. Given in the first round: a sum, unless it is one rank's input.
  const double slots = t.nodes - 1 + (t.largest > 1 ? t.nodes / 2 : 0);
  cost.scratch = (t.staged ? shape.layout->ranks() : 0) +
                 slots * most(t, [&](int node) { return t.blocks(node); });
  return with_rounds(shape, t, cost, sizes, true);
}

}  // namespace railccl::algorithms::hierarchical
