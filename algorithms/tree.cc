// Double binary trees: P. Sanders, J. Speck, J. L. Träff, Two-tree algorithms for full bandwidth
// broadcast, reduction and scan, Parallel Computing 35, 2009. Even channels use tree A, odd ones
// tree B; who forwards in one is a leaf of the other, so with both busy every rank sends each byte
// at most twice.
//
// There is such a tree over the nodes, whose members are the nodes' leaders, and one inside every
// node with its leader on top. Each consists of a top, id 0, and ids 1..p in order below it:
//
//   tree A, p = 6:        0            tree B for even p is its mirror image (id -> p + 1 - id),
//                         |            for odd p it is moved on by one.
//                         4
//                     2      6
//                   1   3   5
#include <algorithm>
#include <array>
#include <bit>
#include <span>

#include "algorithms/algorithms.h"
#include "algorithms/builder.h"

namespace railccl::algorithms::tree {
namespace {

constexpr int kNone = -1;

struct Links {
  int parent = kNone;
  std::array<int, 2> children = {kNone, kNone};
};

// In tree A, of `role` among 0..last.
Links links_of_role(int role, int last) {
  Links links;
  if (last == 0) return links;
  if (role == 0) {
    links.children[0] = static_cast<int>(std::bit_floor(static_cast<unsigned>(last)));
    return links;
  }
  const int low = role & -role;
  const int up = (role ^ low) | (low << 1);
  links.parent = up <= last ? up : role ^ low;
  int half = low / 2;
  if (half > 0) links.children[0] = role - half;
  while (half > 0 && role + half > last) half /= 2;
  if (half > 0) links.children[1] = role + half;
  return links;
}

Links links_of(int id, int last, bool tree_b) {
  if (!tree_b) return links_of_role(id, last);
  const bool mirror = last % 2 == 0;
  const auto to_role = [&](int x) {
    if (x <= 0) return x;
    return mirror ? last + 1 - x : x % last + 1;
  };
  const auto to_id = [&](int role) {
    if (role <= 0) return role;
    return mirror ? last + 1 - role : (role == 1 ? last : role - 1);
  };
  Links links = links_of_role(to_role(id), last);
  links.parent = to_id(links.parent);
  for (int& child : links.children) child = to_id(child);
  return links;
}

// Whom a rank talks to. At most two children are leaders of other nodes; a leader has at most one
// more, in its own node.
struct Place {
  int parent = kNone;
  std::array<int, 3> children = {kNone, kNone, kNone};
  int num_children = 0;
  void add(int child) {
    if (child != kNone) children[static_cast<size_t>(num_children++)] = child;
  }
  std::span<const int> all_children() const {
    return {children.data(), static_cast<size_t>(num_children)};
  }
};

class Tree {
 public:
  explicit Tree(const Shape& shape)
      : layout_(*shape.layout),
        root_(is_rooted(shape.collective) ? shape.root : kNone),
        root_node_(root_ == kNone ? 0 : layout_.node_of[static_cast<size_t>(root_)]),
        tree_b_(shape.channel % 2 == 1),
        leader_turn_(shape.channel / 2) {}

  Place place_of(int rank) const {
    Place place;
    const int node = layout_.node_of[static_cast<size_t>(rank)];
    const auto& members = layout_.ranks_of[static_cast<size_t>(node)];
    const int size = static_cast<int>(members.size());
    const int top = leader_index(node);
    const auto member = [&](int id) {
      return id == kNone ? kNone : members[static_cast<size_t>((id + top) % size)];
    };
    const int id = (layout_.local_index[static_cast<size_t>(rank)] - top + size) % size;
    const Links local = links_of(id, size - 1, tree_b_);
    place.parent = member(local.parent);
    if (id == 0) add_other_nodes(node, place);
    for (const int child : local.children) place.add(member(child));
    return place;
  }

 private:
  void add_other_nodes(int node, Place& place) const {
    const int nodes = layout_.nodes();
    const auto leader = [&](int id) {
      if (id == kNone) return kNone;
      const int other = (id + root_node_) % nodes;
      return layout_.ranks_of[static_cast<size_t>(other)][static_cast<size_t>(leader_index(other))];
    };
    const Links links = links_of((node - root_node_ + nodes) % nodes, nodes - 1, tree_b_);
    place.parent = leader(links.parent);
    for (const int child : links.children) place.add(leader(child));
  }

  int leader_index(int node) const {
    if (root_ != kNone && node == root_node_) {
      return layout_.local_index[static_cast<size_t>(root_)];
    }
    return leader_turn_ % static_cast<int>(layout_.ranks_of[static_cast<size_t>(node)].size());
  }

  const Layout& layout_;
  int root_;
  int root_node_;
  bool tree_b_;
  int leader_turn_;
};

// One rank's part of a tree operation. Scratch: a slot for what comes down (where it cannot land
// in the output), then one per child for what comes up, then this rank's partial result.
class TreeOperation {
 public:
  TreeOperation(const Shape& shape, int rank) : b_(shape, rank), tree_(shape) {
    place_ = tree_.place_of(rank);
    down_slot_ = b_.all_land_in_output() ? 0 : b_.allocate(b_.max_piece());
  }

  // Everyone's input, combined towards the top: each rank reduces its own and its children's in one
  // pass. `partial_in_output`: kOutput is there to hold it on its way.
  void up(bool partial_in_output, bool release) {
    const uint64_t count = b_.shape().piece;
    const uint64_t up_slots = b_.allocate(child_count() * b_.max_piece());
    Slices sources = {b_.input(0)};
    for (size_t i = 0; i < child_count(); ++i) {
      b_.wait(place_.children[i], Phase::kReduce);
      sources.push_back(b_.scratch(up_slots + i * b_.max_piece()));
    }
    if (place_.parent == kNone) {
      b_.reduce({b_.output(0)}, sources, count, true);
    } else {
      Slice partial = b_.input(0);
      if (child_count() > 0) {
        partial = partial_in_output ? b_.output(0) : b_.scratch(b_.allocate(b_.max_piece()));
        b_.reduce({partial}, sources, count, false);
      }
      if (release) b_.wait_released_by(place_.parent);
      b_.put(place_.parent, partial, b_.scratch(slot_at_parent()), count, Phase::kReduce);
    }
    if (!release) return;
    for (const int child : place_.all_children()) b_.release_to(child);
  }

  // From the top's `from` to the output of all.
  void down(Slice from, bool release) {
    const uint64_t count = b_.shape().piece;
    const int parent = place_.parent;
    const bool lands_in_output = parent == kNone || b_.lands_in_output(parent);
    if (parent != kNone) {
      b_.wait(parent, Phase::kGather);
      from = lands_in_output ? b_.output(0) : b_.scratch(down_slot_);
    }
    for (const int child : place_.all_children()) {
      const bool output = b_.lands_in_output(child);
      if (release && !output) b_.wait_released_by(child);
      b_.put(child, from, output ? b_.output(0) : b_.scratch(down_slot_), count, Phase::kGather);
    }
    b_.copy({b_.output(0)}, from, count);
    if (release && !lands_in_output) b_.release_to(parent);
  }

  Builder& builder() { return b_; }

 private:
  size_t child_count() const { return static_cast<size_t>(place_.num_children); }

  uint64_t slot_at_parent() const {
    uint64_t slot = b_.all_land_in_output() ? 0 : b_.max_piece();
    const Place parent = tree_.place_of(place_.parent);
    for (const int child : parent.all_children()) {
      if (child == b_.rank()) break;
      slot += b_.max_piece();
    }
    return slot;
  }

  Builder b_;
  Tree tree_;
  Place place_;
  uint64_t down_slot_ = 0;
};

// Levels below id 0 of a tree with ids up to `last`.
uint32_t depth(int last) {
  return static_cast<uint32_t>(std::bit_width(static_cast<unsigned>(last)));
}

}  // namespace

std::string unsuitable(const Shape&) { return ""; }

Schedule all_reduce(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  TreeOperation tree(shape, rank);
  tree.up(true, false);
  tree.down(tree.builder().output(0), false);
  return tree.builder().take();
}

Schedule broadcast(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  TreeOperation tree(shape, rank);
  tree.down(tree.builder().input(0), true);
  return tree.builder().take();
}

Schedule reduce(const Shape& shape, int rank) {
  if (shape.piece == 0) return {};
  TreeOperation tree(shape, rank);
  tree.up(false, true);
  return tree.builder().take();
}

namespace {

// What one rank does per element, in one of the trees.
void add_rank(const Shape& shape, const Place& place, int rank, Cost& sum) {
  const bool goes_up = shape.collective != Collective::kBroadcast;
  const bool goes_down = shape.collective != Collective::kReduce;
  const auto send = [&](int peer) {
    const bool local = shape.layout->same_node(peer, rank);
    (local ? sum.bytes_sent_local : sum.bytes_sent_inter) += 1;
  };
  if (goes_up && place.parent != kNone) send(place.parent);
  if (goes_down) {
    for (const int child : place.all_children()) send(child);
  }
  if (goes_up) sum.elements_reduced += place.num_children;
}

double scratch_of(const Shape& shape, const Place& place) {
  const bool staged = !shape.direct && shape.layout->nodes() < shape.layout->ranks();
  const double landing = staged ? 1 : 0;
  if (shape.collective == Collective::kBroadcast) return landing;
  const bool partial =
      shape.collective == Collective::kReduce && place.parent != kNone && place.num_children > 0;
  return landing + place.num_children + (partial ? 1 : 0);
}

}  // namespace

Cost cost(const Shape& shape) {
  const Layout& layout = *shape.layout;
  Shape a = shape;
  Shape b = shape;
  a.channel = 0;
  b.channel = 1;
  const Tree tree_a(a);
  const Tree tree_b(b);
  Cost cost;
  size_t largest_node = 0;
  for (const auto& members : layout.ranks_of) largest_node = std::max(largest_node, members.size());
  const uint32_t ways = shape.collective == Collective::kAllReduce ? 2 : 1;
  cost.latency_steps_inter = ways * depth(layout.nodes() - 1);
  cost.latency_steps_local = ways * depth(static_cast<int>(largest_node) - 1);
  cost.path_elements_inter = cost.latency_steps_inter;
  cost.largest_put = layout.nodes() > 1 ? 1 : 0;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const Place in_a = tree_a.place_of(rank);
    const Place in_b = tree_b.place_of(rank);
    Cost sum;
    add_rank(shape, in_a, rank, sum);
    add_rank(shape, in_b, rank, sum);
    cost.bytes_sent_inter = std::max(cost.bytes_sent_inter, sum.bytes_sent_inter / 2);
    cost.bytes_sent_local = std::max(cost.bytes_sent_local, sum.bytes_sent_local / 2);
    cost.elements_reduced = std::max(cost.elements_reduced, sum.elements_reduced / 2);
    cost.scratch = std::max({cost.scratch, scratch_of(shape, in_a), scratch_of(shape, in_b)});
  }
  return cost;
}

}  // namespace railccl::algorithms::tree
