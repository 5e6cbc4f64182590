// The all-gather without sockets: ranks as objects, messages in queues, ranks that die at any
// moment. Whoever is left must get the same table, and everyone's blob who was there to the end.
#include "src/core/control_path_gather.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>

#include "src/core/control_path.h"
#include "src/core/framing.h"

namespace railccl::boot {
namespace {

std::vector<std::byte> blob_of(int rank, size_t bytes) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(rank));
}

// Every pair of live ranks is connected; each pair's messages arrive in order; a death is seen by
// each other rank at a moment of its own, and what the dead rank had sent may be lost from then on.
class Network {
 public:
  Network(const RankTree& tree, uint32_t seed) : tree_(tree), random_(seed) {
    for (int rank = 0; rank < tree.ranks(); ++rank) {
      nodes_.push_back({Membership(tree, rank), GatherBook(rank, tree.ranks()), true});
    }
  }

  GatherBook& book(int rank) { return nodes_[static_cast<size_t>(rank)].book; }
  bool alive(int rank) const { return nodes_[static_cast<size_t>(rank)].alive; }
  size_t frames() const { return frames_; }

  void advance(int rank) {
    Node& node = nodes_[static_cast<size_t>(rank)];
    node.book.advance(
        node.members, [&](int peer) { return !node.members.gone(peer); },
        [&](int to, std::span<const std::byte> payload) {
          EXPECT_LE(payload.size(), kMaxFrameBytes);
          ++frames_;
          wires_[{rank, to}].emplace_back(payload.begin(), payload.end());
        });
  }

  // One random thing happens; false when nothing is left to happen.
  bool step() {
    std::vector<std::pair<int, int>> ready;
    for (auto& [wire, queue] : wires_) {
      if (!queue.empty() && alive(wire.second)) ready.push_back(wire);
    }
    for (const auto& news : news_) {
      if (alive(news.second)) ready.emplace_back(-1 - news.first, news.second);
    }
    if (ready.empty()) return false;
    const auto [from, to] = ready[random_() % ready.size()];
    Node& node = nodes_[static_cast<size_t>(to)];
    if (from < 0) {
      learn(-1 - from, to);
    } else {
      auto& queue = wires_[{from, to}];
      EXPECT_TRUE(node.book.accept(from, queue.front()));
      queue.pop_front();
    }
    advance(to);
    return true;
  }

  void kill(int rank) {
    nodes_[static_cast<size_t>(rank)].alive = false;
    for (int other = 0; other < tree_.ranks(); ++other) {
      if (other != rank) news_.emplace(rank, other);
    }
  }

 private:
  struct Node {
    Membership members;
    GatherBook book;
    bool alive;
  };

  void learn(int dead, int rank) {
    news_.erase({dead, rank});
    wires_[{dead, rank}].clear();
    nodes_[static_cast<size_t>(rank)].members.mark_gone(dead);
  }

  RankTree tree_;
  std::mt19937 random_;
  std::vector<Node> nodes_;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> wires_;
  std::set<std::pair<int, int>> news_;  // (dead, who has not noticed)
  size_t frames_ = 0;
};

TEST(Gather, EveryRankGetsEveryBlobInOneFramePerEdgeAndWay) {
  for (const int ranks : {1, 2, 9, 10, 100}) {
    Network network(RankTree(ranks, 1), 1);
    for (int rank = 0; rank < ranks; ++rank) {
      ASSERT_TRUE(network.book(rank).begin(7, blob_of(rank, 20)));
      network.advance(rank);
    }
    while (network.step()) {
    }
    for (int rank = 0; rank < ranks; ++rank) {
      const auto* table = network.book(rank).poll(7);
      ASSERT_NE(table, nullptr);
      for (int other = 0; other < ranks; ++other) {
        EXPECT_EQ((*table)[static_cast<size_t>(other)], blob_of(other, 20));
      }
    }
    EXPECT_EQ(network.frames(), 2 * static_cast<size_t>(ranks - 1));
  }
}

TEST(Gather, LargeTablesAreCutIntoFrames) {
  const int ranks = 100;
  Network network(RankTree(ranks, 1), 1);
  for (int rank = 0; rank < ranks; ++rank) {
    ASSERT_TRUE(network.book(rank).begin(1, blob_of(rank, kMaxGatherBytes)));
    network.advance(rank);
  }
  while (network.step()) {
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const auto* table = network.book(rank).poll(1);
    ASSERT_NE(table, nullptr);
    EXPECT_EQ((*table)[99], blob_of(99, kMaxGatherBytes));
  }
}

// The invariant under fire: ranks die at random moments of random gathers.
TEST(Gather, SurvivorsGetTheSameTableWhoeverDiesWhenever) {
  int with_deaths_before_the_end = 0;
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random(seed);
    const int ranks = 2 + static_cast<int>(random() % 24);
    const int roots = 1 + static_cast<int>(random() % static_cast<unsigned>(std::min(ranks, 4)));
    Network network(RankTree(ranks, roots, 2 + static_cast<int>(random() % 3)), seed);
    std::vector<int> to_begin;
    for (int rank = 0; rank < ranks; ++rank) to_begin.push_back(rank);
    std::shuffle(to_begin.begin(), to_begin.end(), random);
    int deaths = static_cast<int>(random() % static_cast<unsigned>(ranks));
    for (;;) {
      const unsigned dice = random() % 12;
      if (dice == 0 && deaths > 0) {
        const int victim = static_cast<int>(random() % static_cast<unsigned>(ranks));
        if (network.alive(victim)) {
          network.kill(victim);
          --deaths;
        }
      } else if (dice <= 3 && !to_begin.empty()) {
        const int rank = to_begin.back();
        to_begin.pop_back();
        if (!network.alive(rank)) continue;
        ASSERT_TRUE(network.book(rank).begin(5, blob_of(rank, 3)));
        network.advance(rank);
      } else if (!network.step() && to_begin.empty()) {
        break;
      }
    }
    const GatherBook::Blobs* agreed = nullptr;
    bool some_dead = false;
    for (int rank = 0; rank < ranks; ++rank) {
      some_dead |= !network.alive(rank);
      if (!network.alive(rank)) continue;
      const auto* table = network.book(rank).poll(5);
      ASSERT_NE(table, nullptr) << "rank " << rank << " of " << ranks << " has no table";
      if (agreed == nullptr) agreed = table;
      ASSERT_EQ(*table, *agreed) << "rank " << rank;
      ASSERT_EQ((*table)[static_cast<size_t>(rank)], blob_of(rank, 3));
    }
    with_deaths_before_the_end += some_dead ? 1 : 0;
  }
  EXPECT_GT(with_deaths_before_the_end, 2000);
}

TEST(Gather, WrongCallsAndFramesAreErrors) {
  GatherBook book(0, 4);
  EXPECT_FALSE(book.begin(1, std::vector<std::byte>(kMaxGatherBytes + 1)));
  EXPECT_TRUE(book.begin(2, {}));
  EXPECT_FALSE(book.begin(2, {}));
  for (uint64_t sequence = 3; sequence < 2 + GatherBook::kMaxOpen; ++sequence) {
    EXPECT_TRUE(book.begin(sequence, {}));
  }
  EXPECT_FALSE(book.begin(99, {}));

  std::mt19937 random(3);
  std::vector<std::byte> good;
  GatherBook child(1, 4);
  Membership members(RankTree(4, 1), 1);
  ASSERT_TRUE(child.begin(2, blob_of(1, 9)));
  child.advance(
      members, [](int) { return true; },
      [&](int, std::span<const std::byte> payload) {
        good.assign(payload.begin(), payload.end());
      });
  ASSERT_FALSE(good.empty());
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(book.accept(1, {good.data(), length})) << length;
  }
  for (int trial = 0; trial < 20000; ++trial) {  // must not crash, whatever it answers
    std::vector<std::byte> bad = good;
    for (int i = 0; i < 3; ++i) bad[random() % bad.size()] = static_cast<std::byte>(random());
    GatherBook victim(0, 4);
    (void)victim.accept(1, bad);
  }
}

}  // namespace
}  // namespace railccl::boot
