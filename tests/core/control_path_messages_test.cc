// Messages, gathers, failures and goodbyes between ranks that live.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include "tests/core/bootstrap_world.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

// Ranks that were connected by threads and are then driven by the test's own thread.
struct World {
  explicit World(int ranks, const std::function<void(BootstrapOptions&)>& adjust = {})
      : paths(world_of_threads(ranks, adjust)), sinks(static_cast<size_t>(ranks)) {
    for (size_t i = 0; i < paths.size(); ++i) all.push_back({paths[i].get(), &sinks[i]});
  }
  bool drive(const std::function<bool()>& done) { return drive_until(all, done); }
  int ranks() const { return static_cast<int>(paths.size()); }
  ControlPath& path(int rank) { return *paths[static_cast<size_t>(rank)]; }
  RecordingSink& sink(int rank) { return sinks[static_cast<size_t>(rank)]; }
  bool nobody_lost() const {
    return std::all_of(sinks.begin(), sinks.end(),
                       [](const RecordingSink& sink) { return sink.lost.empty(); });
  }

  std::vector<std::unique_ptr<ControlPath>> paths;
  std::vector<RecordingSink> sinks;
  std::vector<Driven> all;
};

TEST(ControlMessages, ArriveInOrderBetweenEveryPair) {
  World world(12);
  const int each = 20;
  for (int i = 0; i < each; ++i) {
    for (int from = 0; from < world.ranks(); ++from) {
      for (int to = 0; to < world.ranks(); ++to) {
        if (from == to) continue;
        const std::string text = fmt::format("{} to {}: {}", from, to, i);
        ASSERT_TRUE(world.path(from).send(to, bytes_of(text)));
      }
    }
  }
  const auto complete = [&] {
    for (int to = 0; to < world.ranks(); ++to) {
      for (int from = 0; from < world.ranks(); ++from) {
        if (from != to && world.sink(to).messages[from].size() < each) return false;
      }
    }
    return true;
  };
  ASSERT_TRUE(world.drive(complete));
  for (int to = 0; to < world.ranks(); ++to) {
    for (int from = 0; from < world.ranks(); ++from) {
      if (from == to) continue;
      ASSERT_EQ(world.sink(to).messages[from].size(), static_cast<size_t>(each));
      for (int i = 0; i < each; ++i) {
        EXPECT_EQ(world.sink(to).messages[from][static_cast<size_t>(i)],
                  fmt::format("{} to {}: {}", from, to, i));
      }
    }
  }
  EXPECT_TRUE(world.nobody_lost());
  EXPECT_TRUE(close_all(world.all));
}

TEST(ControlMessages, OfEverySizeComeWhole) {
  World world(3);
  std::mt19937 random(11);
  std::vector<std::string> sent;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, kMaxControlBytes}) {
    std::string text(bytes, ' ');
    for (char& c : text) c = static_cast<char>(random());
    sent.push_back(text);
    ASSERT_TRUE(world.path(2).send(1, bytes_of(text)));  // no edge of the tree
  }
  ASSERT_TRUE(world.drive([&] { return world.sink(1).messages[2].size() == sent.size(); }));
  EXPECT_EQ(world.sink(1).messages[2], sent);
  EXPECT_EQ(world.path(2).send(1, std::vector<std::byte>(kMaxControlBytes + 1)).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(world.path(2).send(2, {}).code(), Code::kInvalidArgument);
  EXPECT_EQ(world.path(2).send(3, {}).code(), Code::kInvalidArgument);
  EXPECT_EQ(world.path(2).send(-1, {}).code(), Code::kInvalidArgument);
}

// What a rank sends before the receiver is through with the bootstrap is kept for it.
TEST(ControlMessages, SentAtTheEarliestMomentAreNotLost) {
  const int ranks = 40;
  const UniqueIdBytes id = loopback_id();
  std::vector<std::string> got(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      auto path = connect_rank({&id, 1}, loopback_options(rank, ranks));
      ASSERT_TRUE(path) << path.error().message();
      const int next = (rank + 1) % ranks;
      const int before = (rank + ranks - 1) % ranks;
      ASSERT_TRUE((*path)->send(next, bytes_of(fmt::format("from {}", rank))));
      RecordingSink sink;
      ASSERT_TRUE(drive_until(**path, sink, [&] { return !sink.messages[before].empty(); }));
      got[static_cast<size_t>(rank)] = sink.messages[before][0];
      (*path)->close({});
      ASSERT_TRUE(drive_until(**path, sink, [&] { return (*path)->closed(); }));
      EXPECT_TRUE(sink.lost.empty());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_EQ(got[static_cast<size_t>(rank)], fmt::format("from {}", (rank + ranks - 1) % ranks));
  }
}

// Both dial each other in the same moment, many times over.
TEST(ControlMessages, SimultaneousOpenMakesOneConnection) {
  for (int round = 0; round < 10; ++round) {
    World world(20);
    for (int rank = 1; rank < 20; ++rank) {
      for (int other = 1; other < 20; ++other) {
        if (rank != other) {
          ASSERT_TRUE(world.path(rank).send(other, bytes_of("a")));
        }
      }
    }
    const auto complete = [&](size_t each) {
      for (int rank = 1; rank < 20; ++rank) {
        for (int other = 1; other < 20; ++other) {
          if (rank != other && world.sink(rank).messages[other].size() < each) return false;
        }
      }
      return true;
    };
    ASSERT_TRUE(world.drive([&] { return complete(1); }));
    for (int rank = 1; rank < 20; ++rank) {
      for (int other = 1; other < 20; ++other) {
        if (rank != other) {
          ASSERT_TRUE(world.path(rank).send(other, bytes_of("b")));
        }
      }
    }
    ASSERT_TRUE(world.drive([&] { return complete(2); }));
    EXPECT_TRUE(world.nobody_lost());
    EXPECT_EQ(world.sink(3).messages[4], (std::vector<std::string>{"a", "b"}));
  }
}

TEST(ControlMessages, GathersGiveEveryBlobToEveryRankAlsoSeveralAtOnce) {
  World world(11);
  for (uint64_t sequence = 1; sequence <= 30; sequence += 2) {
    for (uint64_t one : {sequence, sequence + 1}) {
      for (int rank = 0; rank < world.ranks(); ++rank) {
        const std::string text = fmt::format("{}/{}", one, rank);
        ASSERT_TRUE(world.path(rank).begin_gather(one, bytes_of(text)));
      }
    }
    ASSERT_TRUE(world.drive([&] {
      bool all = true;
      for (int rank = 0; rank < world.ranks(); ++rank) {
        all &= world.path(rank).poll_gather(sequence) && world.path(rank).poll_gather(sequence + 1);
      }
      return all;
    }));
    for (int rank = 0; rank < world.ranks(); ++rank) {
      for (uint64_t one : {sequence, sequence + 1}) {
        const auto& table = *world.path(rank).poll_gather(one);
        for (int other = 0; other < world.ranks(); ++other) {
          EXPECT_EQ(text_of(table[static_cast<size_t>(other)]), fmt::format("{}/{}", one, other));
        }
      }
    }
  }
}

TEST(ControlMessages, AnAnnouncedFailureReachesAllOnceAndTheFirstSticks) {
  World world(20);
  world.path(13).announce_failure(error(Code::kMismatch, "rank 13 called something else"));
  world.path(13).announce_failure(error(Code::kInternalError, "second"));
  ASSERT_TRUE(world.drive([&] {
    for (int rank = 0; rank < 20; ++rank) {
      if (rank != 13 && world.sink(rank).failures.empty()) return false;
    }
    return true;
  }));
  world.path(2).announce_failure(error(Code::kInternalError, "third"));
  EXPECT_TRUE(close_all(world.all));
  for (int rank = 0; rank < 20; ++rank) {
    const auto& failures = world.sink(rank).failures;
    if (rank == 13) {
      EXPECT_TRUE(failures.empty());
      continue;
    }
    ASSERT_EQ(failures.size(), 1u) << rank;
    EXPECT_EQ(failures[0].first, 13);
    EXPECT_EQ(failures[0].second.code(), Code::kMismatch);
    EXPECT_EQ(failures[0].second.message(), "rank 13 called something else");
  }
}

TEST(ControlMessages, AnOrderlyEndIsNoLossWhateverTheOrder) {
  std::mt19937 random(5);
  for (int round = 0; round < 5; ++round) {
    World world(30);
    std::vector<int> order(30);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (const int rank : order) {
      world.path(rank).close({});
      for (const Driven& one : world.all) one.path->progress(system_clock().now_ns(), *one.sink);
      if (rank != order.back()) {
        EXPECT_FALSE(world.path(rank).closed());
      }
    }
    // Each is destroyed as soon as it says that it may be.
    while (!world.all.empty()) {
      const auto is_closed = [](const Driven& one) { return one.path->closed(); };
      ASSERT_TRUE(
          world.drive([&] { return std::any_of(world.all.begin(), world.all.end(), is_closed); }));
      const auto closed =
          std::stable_partition(world.all.begin(), world.all.end(), std::not_fn(is_closed));
      for (auto one = closed; one != world.all.end(); ++one) {
        world.paths[static_cast<size_t>(one->path->rank())].reset();
      }
      world.all.erase(closed, world.all.end());
    }
    EXPECT_TRUE(world.nobody_lost());
  }
}

TEST(ControlMessages, AfterCloseNothingCanBeSent) {
  World world(2);
  world.path(0).close({});
  world.path(0).close({});
  EXPECT_EQ(world.path(0).send(1, {}).code(), Code::kInvalidUsage);
  EXPECT_FALSE(world.path(0).closed());
  EXPECT_TRUE(close_all(world.all));
}

TEST(ControlMessages, WhoLeavesTellsEveryoneHowManyOperationsItHasBegun) {
  World world(20);
  world.path(7).close({.operations = 41});
  world.path(8).close({.operations = 41});
  world.path(12).close({.operations = uint64_t{1} << 40, .at_exit = true});
  const std::map<int, Departure> expected = {
      {7, {.operations = 41}},
      {8, {.operations = 41}},
      {12, {.operations = uint64_t{1} << 40, .at_exit = true}}};
  const auto heard = [&](int rank) { return world.sink(rank).left; };
  ASSERT_TRUE(world.drive([&] {
    for (int rank = 0; rank < 20; ++rank) {
      if (!expected.contains(rank) && heard(rank).size() < expected.size()) return false;
    }
    return true;
  }));
  for (int rank = 0; rank < 20; ++rank) {
    if (expected.contains(rank)) continue;
    EXPECT_EQ(heard(rank), expected) << rank;
  }
  EXPECT_TRUE(close_all(world.all));
}

TEST(ControlMessages, WhoLeftBeforeTheOthersCannotBeSentTo) {
  World world(10);
  world.path(9).close({});
  world.path(8).close({.at_exit = true});
  ASSERT_TRUE(world.drive([&] { return world.path(9).delivered() && world.path(8).delivered(); }));
  EXPECT_FALSE(world.path(9).closed());
  world.paths[9].reset();  // their callers' deadlines were over
  world.paths[8].reset();
  world.all.resize(8);
  ASSERT_TRUE(
      world.drive([&] { return !world.path(1).send(9, {}) && !world.path(1).send(8, {}); }));
  const Status closed = world.path(1).send(9, {});
  EXPECT_EQ(closed.code(), Code::kPeerFailed);
  EXPECT_THAT(std::string(closed.message()), HasSubstr("has closed its communicator"));
  const Status ended = world.path(1).send(8, {});
  EXPECT_EQ(ended.code(), Code::kPeerFailed);
  EXPECT_THAT(std::string(ended.message()), HasSubstr("has ended"));
  EXPECT_TRUE(close_all(world.all));
  EXPECT_TRUE(world.nobody_lost());
}

}  // namespace
}  // namespace railccl::test
