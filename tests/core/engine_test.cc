// Who is asked how often by a driver that waits, that whoever has something new is asked at once,
// when what was put leaves, and who drives what was begun.
#include "src/core/engine.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "src/base/unique_fd.h"

namespace railccl {
namespace {

constexpr uint64_t kRounds = 20000;
constexpr uint64_t kEvery = 100;

// What a rail was asked, and what it does in every kEvery-th round; otherwise nothing comes.
struct Script {
  uint64_t rounds = 0;
  bool moves = false;
  std::function<void()> act;
  bool has_just_acted() const { return rounds > 0 && rounds % kEvery == 0; }
};

class ScriptedRail final : public Rail {
 public:
  explicit ScriptedRail(Script& script) : script_(script), wake_(eventfd(0, EFD_CLOEXEC)) {}

  const RailInfo& info() const override { return info_; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& /*region*/) override {
    return error(Code::kInvalidUsage, "has no memory");
  }
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t /*endpoint_tag*/) override {
    return error(Code::kInvalidUsage, "has no endpoints");
  }
  bool progress(TimeNs /*now*/, EventSink& /*sink*/) override {
    ++script_.rounds;
    if (!script_.has_just_acted()) return false;
    if (script_.act) script_.act();
    return script_.moves;
  }
  void prepare_sleep() override {}
  int wake_fd() const override { return wake_.get(); }

 private:
  Script& script_;
  UniqueFd wake_;
  RailInfo info_;
};

struct Asked {
  uint64_t times = 0;
  uint64_t after_an_act = 0;  // of the rail
};

class CountingClient final : public EngineClient {
 public:
  CountingClient(const Script& rail, Completion& completion)
      : rail_(rail), completion_(completion) {}

  bool progress(TimeNs /*now*/) override {
    ++asked.times;
    if (rail_.has_just_acted()) ++asked.after_an_act;
    if (rail_.rounds >= kRounds) completion_.complete(Status::ok());
    return false;
  }
  bool has_work() const override { return true; }
  bool polls() const override { return looks_at_memory; }
  TimeNs next_deadline() const override { return kNever; }
  void prepare_sleep() override {}
  void finish_sleep(TimeNs /*now*/, SleepEnd /*end*/) override {}

  bool looks_at_memory = false;
  Asked asked;

 private:
  const Script& rail_;
  Completion& completion_;
};

class EngineWait : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<Rail>> rails;
    rails.push_back(std::make_unique<ScriptedRail>(rail_));
    auto engine = Engine::create(std::move(rails), {});
    ASSERT_TRUE(engine.has_value()) << engine.error().message();
    engine_ = std::move(*engine);
  }
  // Spins until the rail was asked kRounds times.
  Asked wait() {
    {
      const DriverLock held(*engine_);
      rail_.rounds = 0;
      engine_->add_client(&client_);
    }
    engine_->wait(completion_, kNever);
    const DriverLock held(*engine_);
    engine_->remove_client(&client_);
    return client_.asked;
  }

  Script rail_;
  Completion completion_;
  CountingClient client_{rail_, completion_};
  std::shared_ptr<Engine> engine_;
};

TEST_F(EngineWait, AsksTheRailsAndTheClientsOnlyNowAndThen) {
  const Asked asked = wait();
  EXPECT_GT(asked.times, 1u);
  EXPECT_LT(asked.times, kRounds / 4);
}

TEST_F(EngineWait, AsksAClientThatLooksAtMemoryInEveryRound) {
  client_.looks_at_memory = true;
  EXPECT_GE(wait().times, kRounds);
}

TEST_F(EngineWait, AsksTheClientsWhenARailHasMoved) {
  rail_.moves = true;
  const Asked asked = wait();
  EXPECT_GE(asked.after_an_act, kRounds / kEvery);
  EXPECT_LT(asked.times, kRounds / 4);
}

TEST_F(EngineWait, AsksTheClientsWhenOneWasStirred) {
  rail_.act = [this] { engine_->stir(); };
  const Asked asked = wait();
  EXPECT_GE(asked.after_an_act, kRounds / kEvery);
  EXPECT_LT(asked.times, kRounds / 4);
}

// Every call puts something, and its operation is complete at the first look, or when `answered`
// says so.
class StreamClient final : public EngineClient {
 public:
  bool progress(TimeNs /*now*/) override {
    if (pending_ == nullptr) return false;
    if (!std::exchange(has_put_, true)) ++put;
    if (answered && !answered()) return false;
    has_put_ = false;
    std::exchange(pending_, nullptr)->complete(Status::ok());
    return true;
  }
  bool has_work() const override { return pending_ != nullptr || others_wait; }
  TimeNs next_deadline() const override { return kNever; }
  void prepare_sleep() override {}
  void finish_sleep(TimeNs /*now*/, SleepEnd /*end*/) override {}

  void begin(Completion& completion) { pending_ = &completion; }
  uint64_t put = 0;
  bool others_wait = false;
  std::function<bool()> answered;

 private:
  Completion* pending_ = nullptr;
  bool has_put_ = false;
};

// Counts what was put and has not been sent.
class CollectingRail final : public Rail {
 public:
  CollectingRail(const StreamClient& client, bool collects)
      : client_(client), wake_(eventfd(0, EFD_CLOEXEC)), info_{.collects_puts = collects} {}

  const RailInfo& info() const override { return info_; }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& /*region*/) override {
    return error(Code::kInvalidUsage, "has no memory");
  }
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t /*endpoint_tag*/) override {
    return error(Code::kInvalidUsage, "has no endpoints");
  }
  bool progress(TimeNs now, EventSink& sink) override {
    ++looks_;
    return flush(now, sink);
  }
  bool flush(TimeNs /*now*/, EventSink& /*sink*/) override {
    if (sent_.exchange(client_.put) == client_.put) return false;
    ++sends_;
    const TimeNs over = system_clock().now_ns() + send_takes;
    while (system_clock().now_ns() < over) {
    }
    return true;
  }
  void prepare_sleep() override {}
  int wake_fd() const override { return wake_.get(); }

  uint64_t sent() const { return sent_.load(); }
  uint64_t sends() const { return sends_.load(); }
  uint64_t looks() const { return looks_.load(); }  // at everything, not only at what to send
  std::atomic<TimeNs> send_takes{0};

 private:
  const StreamClient& client_;
  UniqueFd wake_;
  RailInfo info_;
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> sends_{0};
  std::atomic<uint64_t> looks_{0};
};

class EngineStream : public testing::Test {
 protected:
  static constexpr uint64_t kCalls = 20000;

  void start(bool rail_collects) {
    auto rail = std::make_unique<CollectingRail>(client_, rail_collects);
    rail_ = rail.get();
    std::vector<std::unique_ptr<Rail>> rails;
    rails.push_back(std::move(rail));
    auto engine = Engine::create(std::move(rails), {});
    ASSERT_TRUE(engine.has_value()) << engine.error().message();
    engine_ = std::move(*engine);
    const DriverLock held(*engine_);
    engine_->add_client(&client_);
  }
  void TearDown() override {
    const DriverLock held(*engine_);
    engine_->remove_client(&client_);
  }
  void call() {
    Completion completion;
    {
      const DriverLock held(*engine_);
      client_.begin(completion);
    }
    engine_->stir();
    engine_->wait(completion, kNever);
  }
  void call_often() {
    for (uint64_t i = 0; i < kCalls; ++i) call();
  }
  StreamClient client_;
  std::shared_ptr<Engine> engine_;
  CollectingRail* rail_ = nullptr;
};

TEST_F(EngineStream, SendsTogetherWhatManyCallsPut) {
  start(true);
  call_often();
  EXPECT_LT(rail_->sends(), kCalls / 2);
}

// As to several children over TCP.
TEST_F(EngineStream, SendsTogetherWhereASendTakesLongerThanItMayWait) {
  start(true);
  rail_->send_takes = 2 * SendHold::kSendsMayWait;
  call_often();
  EXPECT_LT(rail_->sends(), kCalls / 2);
}

// The look that brought it was the last one, also where that took long.
TEST_F(EngineStream, WhoHasHisResultLooksNoMore) {
  start(true);
  rail_->send_takes = 2 * SendHold::kSendsMayWait;
  client_.answered = [this] { return rail_->sent() == client_.put; };
  call_often();
  EXPECT_LT(rail_->looks(), kCalls * 3 / 2);
}

TEST_F(EngineStream, WhatIsHeldLeavesWithoutAnotherCall) {
  start(true);
  do {
    call();
  } while (rail_->sent() == client_.put);
  // Nobody calls any more; the test's own timeout is the deadline.
  while (rail_->sent() < client_.put) std::this_thread::yield();
}

TEST_F(EngineStream, SendsAtOnceWhereTheRailDoesNotCollect) {
  start(false);
  call_often();
  EXPECT_EQ(rail_->sent(), kCalls);
  EXPECT_EQ(rail_->sends(), kCalls);
}

TEST_F(EngineStream, SendsAtOnceWhileOthersWait) {
  start(true);
  client_.others_wait = true;
  call_often();
  EXPECT_EQ(rail_->sent(), kCalls);
}

// Operations are begun on a stream; callers who always waited at once.
class EngineHabit : public EngineStream {
 protected:
  void begin(Completion& completion) {
    {
      const DriverLock held(*engine_);
      client_.begin(completion);
    }
    engine_->kick_for_caller();
  }
  void begin_and_wait(uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) {
      Completion completion;
      begin(completion);
      engine_->wait(completion, kNever);
    }
  }
  // The test's own timeout is the deadline.
  static void await(const Completion& completion) {
    while (!completion.done()) std::this_thread::yield();
  }
};

TEST_F(EngineHabit, WhatNobodyWaitsForIsDriven) {
  start(false);
  for (int round = 0; round < 20; ++round) {
    begin_and_wait(2 * WaitHabit::kBelieved);
    Completion completion;
    begin(completion);
    await(completion);
  }
  EXPECT_EQ(client_.put, 20 * (2 * WaitHabit::kBelieved + 1));
}

// A look at what is over, or with no time left, is no wait: nothing would be driven by it.
TEST_F(EngineHabit, WhoOnlyLooksHasNotCome) {
  start(false);
  Completion over;
  over.complete(Status::ok());
  for (int round = 0; round < 20; ++round) {
    begin_and_wait(2 * WaitHabit::kBelieved);
    for (int i = 0; i < 10; ++i) {
      Completion completion;
      begin(completion);
      engine_->wait(over, kNever);
      engine_->wait(completion, kNever, 1);
      await(completion);
    }
  }
}

}  // namespace
}  // namespace railccl
