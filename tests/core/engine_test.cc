// Who is asked how often by a driver that waits, and that whoever has something new is asked at
// once.
#include "src/core/engine.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <functional>

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
  void finish_sleep(TimeNs /*now*/, bool /*quiet*/) override {}

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

}  // namespace
}  // namespace railccl
