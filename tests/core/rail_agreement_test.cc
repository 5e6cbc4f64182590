// The change to a new rail picture: at the same operation on every rank, whatever the order in
// which messages and operations come; and what a rank takes for a change worth telling.
#include "src/core/rail_agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "src/core/rail_model.h"
#include "src/core/rail_watch.h"
#include "src/core/rank_tree.h"

namespace railccl {
namespace {

using ::testing::HasSubstr;

constexpr RailView kOneDown{.down = 2, .slow = 0, .bytes_per_second = 500, .towards = 1};
constexpr RailView kOneSlow{.down = 0, .slow = 1, .bytes_per_second = 900, .towards = 0};

// All ranks, and messages between them that are delivered in order per pair, else in any order.
class World {
 public:
  World(int ranks, int arity, uint64_t seed) : random_(seed), used_(static_cast<size_t>(ranks)) {
    const boot::RankTree tree(ranks, 1, arity);
    for (int rank = 0; rank < ranks; ++rank) {
      ranks_.push_back(
          std::make_unique<RailAgreement>(RailAgreementOptions{.rank = rank,
                                                               .ranks = ranks,
                                                               .parent = tree.parent(rank),
                                                               .children = tree.children(rank),
                                                               .pause_ns = 10}));
    }
  }

  RailAgreement& of(int rank) { return *ranks_[static_cast<size_t>(rank)]; }
  int ranks() const { return static_cast<int>(ranks_.size()); }
  uint64_t random(uint64_t below) { return random_() % below; }

  void step(int rank) {
    of(rank).step(++now_, [&](int to, std::span<const std::byte> message) {
      queues_[{rank, to}].emplace_back(message.begin(), message.end());
    });
  }
  // One message of a random pair; false: there is none.
  bool deliver() {
    std::vector<std::pair<int, int>> waiting;
    for (const auto& [pair, queue] : queues_) {
      if (!queue.empty()) waiting.push_back(pair);
    }
    if (waiting.empty()) return false;
    const auto pair = waiting[random(waiting.size())];
    const std::vector<std::byte> message = queues_[pair].front();
    queues_[pair].pop_front();
    const Status status = of(pair.second).accept(pair.first, message);
    EXPECT_TRUE(status.is_ok()) << status.message();
    step(pair.second);
    return true;
  }
  // As far as the agreement lets it.
  bool begin_operation(int rank) {
    auto& used = used_[static_cast<size_t>(rank)];
    const uint64_t number = used.size() + 1;
    if (!of(rank).may_begin(number)) return false;
    of(rank).begin(number);
    used.push_back(of(rank).picture());
    return true;
  }
  // By rank: the picture of each operation.
  const std::vector<std::vector<RailPicture>>& used() const { return used_; }
  void settle() {
    for (bool any = true; any;) {
      any = false;
      now_ += 100;
      for (int rank = 0; rank < ranks(); ++rank) step(rank);
      while (deliver()) any = true;
    }
  }

 private:
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<RailAgreement>> ranks_;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> queues_;
  std::vector<std::vector<RailPicture>> used_;
  TimeNs now_ = 0;
};

// No two ranks ran an operation on different pictures.
void expect_agreement(const World& world) {
  const auto& first = world.used().front();
  for (size_t rank = 1; rank < world.used().size(); ++rank) {
    const auto& other = world.used()[rank];
    for (size_t i = 0; i < std::min(first.size(), other.size()); ++i) {
      ASSERT_EQ(other[i].version, first[i].version) << "rank " << rank << ", operation " << i + 1;
      ASSERT_EQ(other[i].from_operation, first[i].from_operation);
      ASSERT_EQ(other[i].reduced, first[i].reduced);
    }
  }
}

TEST(RailAgreement, EveryOperationHasOnePictureOnAllRanks) {
  uint64_t versions = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 shape(seed);
    World world(1 + static_cast<int>(shape() % 20), 1 + static_cast<int>(shape() % 4), seed);
    for (int i = 0; i < 3000; ++i) {
      const int rank = static_cast<int>(world.random(static_cast<uint64_t>(world.ranks())));
      const uint64_t kind = world.random(100);
      if (kind < 2) {
        world.of(rank).report(world.random(2) == 0 ? RailView{} : kOneDown);
      } else if (kind < 50) {
        world.begin_operation(rank);
      } else if (kind < 60) {
        world.step(rank);
      } else {
        world.deliver();
      }
    }
    world.settle();
    // All are released and go on.
    for (int rank = 0; rank < world.ranks(); ++rank) ASSERT_TRUE(world.begin_operation(rank));
    ASSERT_NO_FATAL_FAILURE(expect_agreement(world)) << "seed " << seed;
    versions += world.used().front().back().version;
  }
  EXPECT_GT(versions, 1000u);
}

TEST(RailAgreement, ALoneRankChangesByItself) {
  World world(1, 8, 1);
  world.begin_operation(0);
  world.of(0).report(kOneDown);
  world.settle();
  EXPECT_EQ(world.of(0).picture().version, 0u);
  world.begin_operation(0);
  EXPECT_EQ(world.of(0).picture().version, 0u);
  world.begin_operation(0);
  EXPECT_EQ(world.of(0).picture().version, 1u);
  EXPECT_EQ(world.of(0).picture().from_operation, 1 + RailAgreement::kAhead);
}

TEST(RailAgreement, ThePictureNamesWhoIsNotWhole) {
  World world(4, 2, 1);
  world.of(3).report(kOneDown);
  world.of(1).report(kOneSlow);
  world.settle();
  for (int i = 0; i < 2; ++i) world.begin_operation(2);
  const RailPicture& picture = world.of(2).picture();
  EXPECT_EQ(picture.reduced.at(3), kOneDown);
  EXPECT_EQ(picture.reduced.at(1), kOneSlow);
  EXPECT_EQ(picture.slowest_rank(), 3);
  EXPECT_THAT(to_string(picture), HasSubstr("rank 3: rail 1 down (towards rank 1)"));
  const std::vector<double> rates = {1000, 1000, 1000, 1000};
  const MachineModel whole{.network_bytes_per_second = 1000};
  EXPECT_EQ(model_of(whole, rates, picture).network_bytes_per_second, 500);
}

TEST(RailAgreement, WhatIsWholeAgainChangesBack) {
  World world(3, 2, 1);
  world.of(2).report(kOneDown);
  world.settle();
  for (int rank = 0; rank < 3; ++rank) world.begin_operation(rank);
  world.of(2).report({});
  world.settle();
  for (int i = 0; i < 4; ++i) {
    for (int rank = 0; rank < 3; ++rank) EXPECT_TRUE(world.begin_operation(rank));
  }
  EXPECT_EQ(world.of(1).picture().version, 2u);
  EXPECT_TRUE(world.of(1).picture().reduced.empty());
  expect_agreement(world);
}

// Flapping costs no more than a version per pause.
TEST(RailAgreement, VersionsKeepTheirDistance) {
  RailAgreement root({.rank = 0, .ranks = 1, .parent = -1, .children = {}, .pause_ns = 1000});
  const auto nobody = [](int, std::span<const std::byte>) {};
  uint64_t operation = 0;
  for (TimeNs now = 1; now <= 10000; ++now) {
    root.report(now % 2 == 0 ? RailView{} : kOneDown);
    root.step(now, nobody);
    root.begin(++operation);
  }
  EXPECT_LE(root.picture().version, 11u);
  EXPECT_GE(root.picture().version, 9u);
}

TEST(RailAgreement, ARankWaitsWithTheOperationThatMayBeTheFirstOfTheNextVersion) {
  World world(2, 2, 1);
  world.of(1).report(kOneDown);
  world.step(1);
  world.deliver();  // the report
  world.step(0);    // proposes
  EXPECT_TRUE(world.begin_operation(0));
  EXPECT_FALSE(world.begin_operation(0));
  EXPECT_THAT(world.of(0).describe(), HasSubstr("version 1 of the rails: waits for rank 1"));
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(world.begin_operation(1));  // it has not heard of it
  while (world.deliver()) {
  }
  while (world.used()[0].size() < 12) ASSERT_TRUE(world.begin_operation(0));
  while (world.used()[1].size() < 12) ASSERT_TRUE(world.begin_operation(1));
  EXPECT_EQ(world.of(0).picture().from_operation, 7 + RailAgreement::kAhead);
  expect_agreement(world);
}

// A rank that is through may go only when nobody waits for its word any more.
TEST(RailAgreement, LeavingEndsTheAgreementForAll) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    World world(7, 2, seed);
    world.of(static_cast<int>(world.random(7))).report(kOneDown);
    for (uint64_t i = 0; i < seed % 20; ++i) {
      world.step(static_cast<int>(world.random(7)));
      world.deliver();
    }
    const int leaver = static_cast<int>(world.random(7));
    world.of(leaver).leave();
    world.of(6).report(kOneSlow);
    world.settle();
    for (int rank = 0; rank < 7; ++rank) {
      EXPECT_TRUE(world.of(rank).ended()) << "rank " << rank << ", seed " << seed;
      for (int i = 0; i < 5; ++i) EXPECT_TRUE(world.begin_operation(rank));
    }
    expect_agreement(world);
  }
}

TEST(RailAgreement, WhatDoesNotParseIsRefused) {
  RailAgreement rank(
      {.rank = 1, .ranks = 4, .parent = 0, .children = {3}, .pause_ns = kMillisecond});
  const auto refused = [&rank](int from, uint8_t kind, std::vector<uint8_t> fields) {
    std::vector<uint8_t> bytes = {kind, 0, 0, 0};
    bytes.insert(bytes.end(), fields.begin(), fields.end());
    return !rank.accept(from, std::as_bytes(std::span(bytes))).is_ok();
  };
  EXPECT_FALSE(rank.accept(0, {}).is_ok());
  EXPECT_TRUE(refused(0, 99, {}));
  EXPECT_TRUE(refused(2, 6, {}));                              // no neighbour
  EXPECT_TRUE(refused(3, 6, {}));                              // the end comes from above
  EXPECT_TRUE(refused(0, 2, {1, 0}));                          // cut off
  EXPECT_TRUE(refused(3, 1, std::vector<uint8_t>(24, 9)));     // no such rank
  EXPECT_TRUE(refused(0, 4, std::vector<uint8_t>(40, 0xff)));  // the same
  EXPECT_TRUE(rank.may_begin(1000));
}

// --- What is worth telling -----------------------------------------------------------------------

constexpr RailWatchOptions kWatch{
    .pause_ns = 10, .lasting_ns = 30, .rate_lasting_ns = 60, .sample_bytes = 100};

std::vector<RailObservation> two_rails() {
  std::vector<RailObservation> rails;
  for (const int peer : {4, 5}) {
    for (int rail = 0; rail < 2; ++rail) {
      rails.push_back({.rail = rail,
                       .peer = peer,
                       .known_bytes_per_second = 1e12,
                       .measured_bytes_per_second = 1e12});
    }
  }
  return rails;
}

// Looks until something changes, at most `looks` times; how many looks it took.
int looks_until_change(RailWatch& watch, std::vector<RailObservation>& rails, TimeNs& now,
                       int looks = 20) {
  for (int i = 1; i <= looks; ++i) {
    now += kWatch.pause_ns;
    for (RailObservation& rail : rails) rail.bytes_sent += 100000;
    if (watch.look(rails, now)) return i;
  }
  return 0;
}

TEST(RailWatch, ARailThatStaysDownIsToldAndSoIsItsReturn) {
  RailWatch watch(kWatch, 2000);
  TimeNs now = 0;
  auto rails = two_rails();
  EXPECT_EQ(looks_until_change(watch, rails, now), 0);
  rails[3].up = false;
  EXPECT_EQ(looks_until_change(watch, rails, now), 4);
  EXPECT_EQ(watch.view(), (RailView{.down = 2, .slow = 0, .bytes_per_second = 1000, .towards = 5}));
  rails[3].up = true;
  EXPECT_EQ(looks_until_change(watch, rails, now), 4);
  EXPECT_TRUE(watch.view().whole());
}

TEST(RailWatch, ARailThatFlapsIsNotTold) {
  RailWatch watch(kWatch, 2000);
  TimeNs now = 0;
  auto rails = two_rails();
  for (int i = 0; i < 20; ++i) {
    rails[0].up = !rails[0].up;
    EXPECT_EQ(looks_until_change(watch, rails, now, 3), 0);
  }
}

TEST(RailWatch, ARateThatWaversIsNotToldAndHoldsUpNothing) {
  RailWatch watch(kWatch, 2000);
  TimeNs now = 0;
  auto rails = two_rails();
  int changes = 0;
  for (int i = 0; i < 40; ++i) {
    rails[0].measured_bytes_per_second = (i % 2 == 0 ? 0.1 : 0.2) * 1e12;
    if (i == 10) rails[3].up = false;
    changes += looks_until_change(watch, rails, now, 3) == 0 ? 0 : 1;
  }
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(watch.view().down, 2u);
  EXPECT_EQ(watch.view().slow, 0u);
}

TEST(RailWatch, ARateThatIsFarFromWhatIsKnownIsTold) {
  RailWatch watch(kWatch, 2000);
  TimeNs now = 0;
  auto rails = two_rails();
  rails[1].measured_bytes_per_second = 0.45e12;  // less, but not far less
  EXPECT_EQ(looks_until_change(watch, rails, now), 0);
  rails[1].measured_bytes_per_second = 0.2e12;
  EXPECT_NE(looks_until_change(watch, rails, now), 0);
  EXPECT_EQ(watch.view(), (RailView{.down = 0, .slow = 2, .bytes_per_second = 1250, .towards = 4}));
  rails[1].measured_bytes_per_second = 0.29e12;  // above the level, but not well above
  EXPECT_EQ(looks_until_change(watch, rails, now), 0);
  rails[1].measured_bytes_per_second = 0.9e12;
  EXPECT_NE(looks_until_change(watch, rails, now), 0);
  EXPECT_TRUE(watch.view().whole());
}

TEST(RailWatch, ARailThatCarriesLittleSaysNothingOfItsRate) {
  RailWatch watch(kWatch, 2000);
  TimeNs now = 0;
  auto rails = two_rails();
  rails[1].measured_bytes_per_second = 1e9;
  for (int i = 0; i < 20; ++i) {
    now += kWatch.pause_ns;
    rails[1].bytes_sent += kWatch.sample_bytes - 1;
    EXPECT_FALSE(watch.look(rails, now));
  }
}

TEST(RailWatch, ASlowRailCarriesNothing) {
  RailWatch watch(kWatch, 2000);
  TimeNs now = 0;
  auto rails = two_rails();
  rails[0].slow = rails[2].slow = true;
  EXPECT_NE(looks_until_change(watch, rails, now), 0);
  EXPECT_EQ(watch.view(), (RailView{.down = 0, .slow = 1, .bytes_per_second = 1000, .towards = 4}));
}

TEST(RailModel, SupposesTheBestRailsTogetherAndTheSlowestLatency) {
  const RailInfo fast{.transport = TransportKind::kVerbs,
                      .bytes_per_second = 2'000'000'000,
                      .latency_ns = 3000,
                      .put_ns = 1000};
  const RailInfo slow{.transport = TransportKind::kVerbs,
                      .bytes_per_second = 1'000'000'000,
                      .latency_ns = 50'000,
                      .put_ns = 20'000};
  const RailInfo last_resort{.transport = TransportKind::kTcp,
                             .bytes_per_second = 1'000'000'000,
                             .latency_ns = 90'000,
                             .put_ns = 90'000};
  const NetworkFacts both = supposed_network(std::vector{last_resort, fast, slow, last_resort});
  EXPECT_EQ(both.bytes_per_second, 3e9);
  EXPECT_DOUBLE_EQ(both.latency_s, 50e-6);
  EXPECT_DOUBLE_EQ(both.put_s, 20e-6);
  const NetworkFacts unknown = supposed_network(std::vector<RailInfo>(1));
  EXPECT_EQ(unknown.bytes_per_second, 1.25e9);
  EXPECT_EQ(unknown.latency_s, MachineModel().network_latency_s);
  EXPECT_EQ(unknown.put_s, MachineModel().network_put_s);
}

}  // namespace
}  // namespace railccl
