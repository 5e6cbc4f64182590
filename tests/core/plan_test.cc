// What settings and config make of a plan: channels, scratch, a schedule of the user's own.
#include "src/core/plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>

#include "algorithms/schedule_file.h"
#include "src/core/comm_options.h"
#include "src/core/net_name.h"

namespace railccl {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Environment = FixedSettingsSource::Map;

Result<CommOptions> options_of(const Environment& values) {
  RAILCCL_ASSIGN(const Settings settings, load_settings(FixedSettingsSource(values)));
  return make_comm_options(settings);
}

std::string error_of(const Environment& values) {
  const auto options = options_of(values);
  return options ? "" : std::string(options.error().message());
}

TEST(CommOptions, ScratchIsThatOfTheChannels) {
  EXPECT_EQ(options_of({})->scratch_bytes, uint64_t{32} << 20);
  EXPECT_EQ(options_of({{"NCCL_BUFFSIZE", "1M"}, {"NCCL_MAX_NCHANNELS", "8"}})->scratch_bytes,
            uint64_t{8} << 20);
  EXPECT_EQ(options_of({{"RAILCCL_SCRATCH_BYTES", "5M"}, {"NCCL_BUFFSIZE", "1M"}})->scratch_bytes,
            uint64_t{5} << 20);
  EXPECT_THAT(error_of({{"RAILCCL_BUFFSIZE", "4K"}}), HasSubstr("RAILCCL_BUFFSIZE"));
  EXPECT_THAT(error_of({{"RAILCCL_SCRATCH_BYTES", "4K"}}), HasSubstr("RAILCCL_SCRATCH_BYTES"));
}

TEST(CommOptions, ChannelsComeFromFourSettingsAndTheConfig) {
  const auto defaults = options_of({});
  EXPECT_EQ(defaults->min_channels, 1);
  EXPECT_EQ(defaults->max_channels, 2);
  const auto more = options_of({{"NCCL_MIN_NCHANNELS", "3"}, {"NCCL_MIN_CTAS", "5"}});
  EXPECT_EQ(more->min_channels, 5);
  EXPECT_EQ(more->max_channels, 5);
  const auto fewer = options_of({{"NCCL_MAX_NCHANNELS", "6"}, {"NCCL_MAX_CTAS", "1"}});
  EXPECT_EQ(fewer->max_channels, 1);
  const std::string clash = error_of({{"NCCL_MIN_NCHANNELS", "4"}, {"RAILCCL_MAX_CTAS", "2"}});
  EXPECT_THAT(clash, HasSubstr("NCCL_MIN_NCHANNELS"));
  EXPECT_THAT(clash, HasSubstr("RAILCCL_MAX_CTAS"));

  CommOptions by_config = *defaults;
  ASSERT_TRUE(bound_channels(by_config, {.min = 4, .max = 8}));
  EXPECT_EQ(by_config.min_channels, 4);
  EXPECT_EQ(by_config.max_channels, 8);
  EXPECT_NE(by_config.configuration, defaults->configuration);
  CommOptions environment_wins = *fewer;
  ASSERT_TRUE(bound_channels(environment_wins, {.min = 4, .max = 8}));
  EXPECT_EQ(environment_wins.max_channels, 1);
}

TEST(CommOptions, ProbePausesReachTheLinks) {
  const auto options =
      options_of({{"RAILCCL_RAIL_PROBE_MS", "7"}, {"RAILCCL_RAIL_PROBE_MAX_MS", "70"}});
  EXPECT_EQ(options->peers.link.probe_pause_ns, 7 * kMillisecond);
  EXPECT_EQ(options->peers.link.probe_pause_max_ns, 70 * kMillisecond);
  EXPECT_THAT(error_of({{"RAILCCL_RAIL_PROBE_MAX_MS", "50"}}),
              HasSubstr("at least RAILCCL_RAIL_PROBE_MS, 100"));
}

TEST(NetName, NcclsNamesAndOurs) {
  EXPECT_EQ(transport_of_net("IB"), TransportKind::kVerbs);
  EXPECT_EQ(transport_of_net("Socket"), TransportKind::kTcp);
  EXPECT_EQ(transport_of_net("TCP"), TransportKind::kTcp);
  EXPECT_EQ(transport_of_net("AWS Libfabric"), std::nullopt);
  const auto wish = [](const Environment& values) {
    return wished_transport(*load_settings(FixedSettingsSource(values)));
  };
  EXPECT_EQ(wish({{"NCCL_NET", "socket"}})->choice, TransportChoice::kTcp);
  EXPECT_EQ(wish({{"NCCL_NET", "IB"}})->choice, TransportChoice::kVerbs);
  EXPECT_EQ(wish({{"NCCL_NET", "IB"}, {"RAILCCL_TRANSPORT", "tcp"}})->choice,
            TransportChoice::kTcp);
  const auto unknown = wish({{"NCCL_NET", "Token Ring"}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(std::string(unknown.error().message()),
              HasSubstr("NCCL_NET): 'Token Ring' is not allowed"));
  EXPECT_THAT(std::string(unknown.error().message()), HasSubstr("Socket (or tcp)"));
}

PlanInputs inputs_of(const std::vector<int>& nodes) {
  PlanInputs inputs;
  inputs.layout = std::make_shared<const Layout>(make_layout(nodes));
  inputs.direct = true;
  inputs.scratch_bytes = 32 << 20;
  inputs.eager_bytes = 8192;
  inputs.allowed.assign(static_cast<size_t>(Collective::kSendRecv), {"ring"});
  inputs.machine_at_start = inputs.machine;
  return inputs;
}

TEST(Plan, HasAsManyChannelsAsAskedForAndEachOfThemWork) {
  PlanInputs inputs = inputs_of({0, 1, 2});
  const Call call{.collective = Collective::kAllReduce, .count = 1'000'000};
  EXPECT_EQ(make_plan(call, inputs, true)->channels, 1);
  inputs.min_channels = 4;
  inputs.max_channels = 6;
  const auto plan = make_plan(call, inputs, true);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->channels, 4);
  EXPECT_EQ(plan->by_channel.size(), 4u);
  EXPECT_GE(plan->pieces, 4u);
  EXPECT_EQ(plan->slot_bytes, (uint64_t{32} << 20) / (6 * 4) / 4096 * 4096);
  // Data that cannot be cut.
  const Call tiny{.collective = Collective::kAllReduce, .count = 1};
  EXPECT_EQ(make_plan(tiny, inputs, true)->channels, 1);
  inputs.min_channels = 1;
  inputs.max_channels = 1;
  inputs.allowed.assign(static_cast<size_t>(Collective::kSendRecv), {"tree"});
  EXPECT_EQ(make_plan(call, inputs, true)->channels, 1);
}

// What this rank does, in full.
std::string text_of(const OperationPlan& plan) {
  std::string text = fmt::format("{} pieces of {}, the last {}\n", plan.pieces, plan.piece_elements,
                                 plan.tail_elements);
  for (const OperationPlan::Channel& channel : plan.by_channel) {
    text += to_string(channel.main) + to_string(channel.tail);
  }
  return text;
}

// How many of the plans for calls of many sizes change when the network is slower.
int plans_changed(const Call& example, Retune retune) {
  int changed = 0;
  for (const std::vector<int>& nodes : {std::vector{0, 1}, {0, 1, 2, 3, 4}, {0, 0, 1, 1, 1, 2}}) {
    PlanInputs inputs = inputs_of(nodes);
    inputs.allowed.clear();
    inputs.retune = retune;
    for (uint64_t count = 16; count < (1 << 23); count *= 3) {
      Call call = example;
      call.count = count;
      PlanCache plans(inputs);
      const std::string before = text_of(**plans.get(call, false));
      for (const double part : {0.5, 0.1, 0.01}) {
        MachineModel slower = inputs.machine;
        slower.network_bytes_per_second *= part;
        plans.set_machine(slower);
        changed += text_of(**plans.get(call, false)) == before ? 0 : 1;
      }
    }
  }
  return changed;
}

// Results are bit for bit the same whatever rails fail (docs/failover.md).
TEST(Plan, ASlowerNetworkLeavesTheOrderOfFloatingPointSumsAsItIs) {
  for (const Collective collective :
       {Collective::kAllReduce, Collective::kReduce, Collective::kReduceScatter}) {
    for (const DataType type : {DataType::kFloat16, DataType::kFloat64}) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kAvg}) {
        EXPECT_EQ(plans_changed({.collective = collective, .type = type, .op = op}, Retune::kExact),
                  0);
      }
    }
  }
}

TEST(Plan, ASlowerNetworkChangesWhatHasNoOrder) {
  EXPECT_GT(plans_changed({.collective = Collective::kAllReduce, .type = DataType::kInt32},
                          Retune::kExact),
            0);
  // The model has no reason to change this one here; that it may is what counts.
  PlanInputs inputs = inputs_of({0, 1, 2});
  inputs.retune = Retune::kExact;
  EXPECT_FALSE(choice_is_kept({.collective = Collective::kBroadcast}, inputs));
  EXPECT_GT(
      plans_changed({.collective = Collective::kAllReduce, .op = ReduceOp::kMax}, Retune::kExact),
      0);
  EXPECT_GT(plans_changed({.collective = Collective::kAllReduce}, Retune::kAll), 0);
}

TEST(Plan, AChoiceThatIsKeptIsPredictedForTheNetworkAsItIs) {
  PlanInputs inputs = inputs_of({0, 1});
  const Call call{.collective = Collective::kAllReduce, .count = 1 << 22};
  const double before = decide(call, inputs)->chosen.seconds;
  inputs.machine.network_bytes_per_second /= 10;
  EXPECT_GT(decide(call, inputs)->chosen.seconds, 2 * before);
}

// Where the network hides it, the model sees no difference between combining everything and a half.
TEST(Plan, OfWhatTakesAsLongTheLeastWorkIsChosen) {
  PlanInputs inputs = inputs_of({0, 1});
  inputs.allowed.clear();
  const auto chosen = [&](uint64_t count) {
    const auto decision = decide({.collective = Collective::kAllReduce, .count = count}, inputs);
    return decision->chosen;
  };
  EXPECT_THAT(chosen(2).algorithm->name, HasSubstr("doubling"));
  const Candidate large = chosen(1 << 22);
  EXPECT_THAT(large.algorithm->name, Not(HasSubstr("doubling")));
  EXPECT_DOUBLE_EQ(large.work, 1.5 * sizeof(float) * (1 << 22));  // sent once, a half reduced
}

// A tree or chain in one piece takes the whole data as often as the way is long.
TEST(Plan, MuchDataIsCutWhereItIsPassedOn) {
  for (const Collective collective : {Collective::kBroadcast, Collective::kReduce}) {
    for (const std::string algorithm : {"ring", "tree", "hierarchical"}) {
      PlanInputs inputs = inputs_of({0, 1, 2, 3, 4});
      inputs.allowed.assign(static_cast<size_t>(Collective::kSendRecv), {algorithm});
      const auto decision = decide({.collective = collective, .count = 1 << 23}, inputs);
      ASSERT_TRUE(decision) << decision.error().message();
      EXPECT_LT(decision->chosen.piece, uint64_t{1} << 20) << algorithm;
      EXPECT_EQ(decide({.collective = collective, .count = 64}, inputs)->chosen.piece, 64u);
    }
  }
}

TEST(Plan, NothingIsCutForLittle) {
  PlanInputs inputs = inputs_of({0, 1, 2, 3});
  inputs.allowed.assign(static_cast<size_t>(Collective::kSendRecv), {"hierarchical-halving"});
  const Call call{.collective = Collective::kAllReduce, .count = 1 << 18};
  const Decision whole = *decide(call, inputs);
  EXPECT_EQ(whole.chosen.piece, call.count);
  inputs.piece_bytes = 512 << 10;
  const double cut = decide(call, inputs)->chosen.seconds;
  EXPECT_LT(cut, whole.chosen.seconds);
  EXPECT_LT(whole.chosen.seconds, cut + 100e-6);
  // Where it gains more it is done, be it one in a hundred.
  inputs.piece_bytes = 0;
  inputs.scratch_bytes = uint64_t{1} << 30;
  const Call large{.collective = Collective::kAllReduce, .count = 1 << 26};
  EXPECT_LT(decide(large, inputs)->chosen.piece, large.count / 8);
}

// A large put waits for its receiver's word where to, a message does not.
TEST(Plan, LittleIsCutIntoMessages) {
  PlanInputs inputs = inputs_of({0, 1, 2, 3});
  inputs.allowed.assign(static_cast<size_t>(Collective::kSendRecv), {"tree"});
  const Call call{.collective = Collective::kBroadcast, .count = 64 << 8};
  EXPECT_EQ(decide(call, inputs)->chosen.piece * call.element(), inputs.machine.eager_bytes);
  inputs.machine.eager_bytes = 0;
  EXPECT_EQ(decide(call, inputs)->chosen.piece, call.count);
}

// By rank, every second one in place; none where the algorithm is not for the layout.
std::vector<OperationPlan> plans_of_all(const Call& call, PlanInputs inputs) {
  std::vector<OperationPlan> plans;
  for (inputs.rank = 0; inputs.rank < inputs.layout->ranks(); ++inputs.rank) {
    auto plan = make_plan(call, inputs, inputs.rank % 2 == 0);
    if (!plan) return {};
    plans.push_back(std::move(*plan));
  }
  return plans;
}

uint64_t largest_put(const OperationPlan& plan, int to) {
  uint64_t largest = 0;
  for (const OperationPlan::Channel& channel : plan.by_channel) {
    for (const Schedule* schedule : {&channel.main, &channel.tail}) {
      for (const Step& step : schedule->steps) {
        if (step.kind == StepKind::kPut && step.peer == to) largest = std::max(largest, step.count);
      }
    }
  }
  return largest;
}

// Told by the receiver, so he has to know; by the senders' own schedules, in place or not.
TEST(Plan, WhoPutsMuchIsToldWhere) {
  uint64_t large = 0;
  uint64_t only_small = 0;
  for (const std::vector<int>& nodes : {std::vector{0, 1}, {0, 1, 2, 3}, {0, 0, 1, 1, 1, 2}}) {
    PlanInputs inputs = inputs_of(nodes);
    for (const Algorithm& algorithm : catalog()) {
      inputs.allowed.assign(static_cast<size_t>(Collective::kSendRecv),
                            {std::string(algorithm.name)});
      for (const uint64_t count : {100, 2000, 3000, 100'001}) {
        const Call call{.collective = algorithm.collective, .count = count};
        const std::vector<OperationPlan> plans = plans_of_all(call, inputs);
        for (size_t rank = 0; rank < plans.size(); ++rank) {
          for (const int sender : plans[rank].remote_senders) {
            const OperationPlan& theirs = plans[static_cast<size_t>(sender)];
            const bool is_large =
                largest_put(theirs, static_cast<int>(rank)) * call.element() > inputs.eager_bytes;
            EXPECT_EQ(std::ranges::count(plans[rank].large_senders, sender), is_large)
                << algorithm.name << " " << count << ": " << sender << " to " << rank;
            EXPECT_TRUE(!is_large || theirs.puts_large);
            ++(is_large ? large : only_small);
          }
        }
      }
    }
  }
  EXPECT_GT(large, 100u);
  EXPECT_GT(only_small, 100u);
}

// Looking takes the schedules of all of them.
TEST(Plan, WhatVeryManyRanksPutIsSupposedToBeMuch) {
  std::vector<int> nodes(1000);
  std::iota(nodes.begin(), nodes.end(), 0);
  PlanInputs inputs = inputs_of(nodes);
  inputs.allowed.clear();
  const auto all_to_all = [&](uint64_t count) {
    return *make_plan({.collective = Collective::kAllToAll, .count = count}, inputs, false);
  };
  const OperationPlan plan = all_to_all(100);
  EXPECT_EQ(plan.remote_senders.size(), 999u);
  EXPECT_EQ(plan.large_senders, plan.remote_senders);
  EXPECT_THAT(all_to_all(1).large_senders, IsEmpty());  // all of it would be small
}

class ScheduleFile : public ::testing::Test {
 protected:
  ~ScheduleFile() override { unlink(path_.c_str()); }

  // Ring AllReduce of pieces of 60 elements, over three nodes.
  ScheduleSet ring(bool in_place) const {
    const Shape shape{.collective = Collective::kAllReduce,
                      .layout = std::make_shared<const Layout>(make_layout({0, 1, 2})),
                      .block = 240,
                      .piece = 60,
                      .max_piece = 60,
                      .in_place = in_place,
                      .direct = true};
    return generate_all(*find_algorithm(Collective::kAllReduce, "ring"), shape);
  }
  Result<std::shared_ptr<const UserSchedule>> read(const std::string& text) const {
    std::ofstream(path_) << text;
    return UserSchedule::read(path_);
  }

  std::string path_ = testing::TempDir() + "railccl_schedule_" + std::to_string(getpid());
};

TEST_F(ScheduleFile, RunsWhatItFitsAndNothingElse) {
  PlanInputs inputs = inputs_of({0, 1, 2});
  inputs.rank = 1;
  const ScheduleSet set = ring(false);
  inputs.user_schedule = *read(write_schedules(set));
  Call call{.collective = Collective::kAllReduce, .count = 60 * 7};
  const auto plan = make_plan(call, inputs, false);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->decision.chosen.algorithm->name, "file");
  EXPECT_EQ(plan->pieces, 7u);
  EXPECT_EQ(to_string(plan->by_channel[0].main), to_string(set.ranks[1]));
  EXPECT_FALSE(plan->puts_large);
  EXPECT_THAT(plan->large_senders, IsEmpty());
  EXPECT_TRUE(uses_user_schedule(call, inputs));

  const auto reason = [&](const Call& other, const PlanInputs& where) -> std::string {
    EXPECT_FALSE(uses_user_schedule(other, where));
    const auto decision = decide(other, where);
    if (!decision) return std::string(decision.error().message());
    EXPECT_EQ(decision->chosen.algorithm->name, "ring");
    return decision->considered.back().unsuitable;
  };
  call.count = 61;
  EXPECT_THAT(reason(call, inputs), HasSubstr("61 elements are no whole number of its pieces"));
  call.count = 60;
  PlanInputs one_node = inputs_of({0, 0, 0});
  one_node.user_schedule = inputs.user_schedule;
  EXPECT_THAT(reason(call, one_node), HasSubstr("nodes [0, 1, 2]"));
  const Call gather{.collective = Collective::kAllGather, .count = 60};
  EXPECT_THAT(reason(gather, inputs), HasSubstr("it is for AllReduce"));
}

// What it puts from scratch to scratch may be more than the call's buffers.
TEST_F(ScheduleFile, MayPutMuchForACallOfLittle) {
  PlanInputs inputs = inputs_of({0, 1, 2});
  const auto schedule = read(R"({
    "format": "railccl-schedules-1", "collective": "AllReduce", "nodes": [0, 1, 2], "root": 0,
    "block": 1500, "piece": 1500,
    "ranks": [
      {"scratch": 3000, "steps": [
        {"do": "wait", "peer": 1, "tag": 2},
        {"do": "reduce", "count": 1500, "final": true,
         "from": [["input", 0], ["scratch", 1500], ["scratch", 0]], "to": [["output", 0]]},
        {"do": "put", "peer": 1, "tag": 3, "count": 1500, "from": [["output", 0]], "to": [["output", 0]]},
        {"do": "put", "peer": 2, "tag": 3, "count": 1500, "from": [["output", 0]], "to": [["output", 0]]}]},
      {"scratch": 3000, "steps": [
        {"do": "copy", "count": 1500, "from": [["input", 0]], "to": [["scratch", 1500]]},
        {"do": "wait", "peer": 2, "tag": 1},
        {"do": "put", "peer": 0, "tag": 2, "count": 3000, "from": [["scratch", 0]], "to": [["scratch", 0]]},
        {"do": "wait", "peer": 0, "tag": 3}]},
      {"scratch": 0, "steps": [
        {"do": "put", "peer": 1, "tag": 1, "count": 1500, "from": [["input", 0]], "to": [["scratch", 0]]},
        {"do": "wait", "peer": 0, "tag": 3}]}
    ]})");
  ASSERT_TRUE(schedule) << schedule.error().message();
  inputs.user_schedule = *schedule;
  const Call call{.collective = Collective::kAllReduce, .count = 1500};  // 6000 bytes
  const std::vector<OperationPlan> plans = plans_of_all(call, inputs);
  ASSERT_EQ(plans.size(), 3u);
  EXPECT_EQ(plans[0].large_senders, std::vector{1});
  EXPECT_TRUE(plans[1].puts_large);
  EXPECT_FALSE(plans[0].puts_large || plans[2].puts_large);
}

// In place the root of a broadcast has nothing to copy; elsewhere its output would stay empty.
TEST_F(ScheduleFile, IsRefusedForCallsForWhichItIsNotProven) {
  PlanInputs inputs = inputs_of({0, 1});
  inputs.user_schedule = *read(R"({
    "format": "railccl-schedules-1", "collective": "Broadcast", "nodes": [0, 1], "root": 0,
    "block": 8, "piece": 8, "in_place": true,
    "ranks": [
      {"scratch": 0, "steps": [{"do": "put", "peer": 1, "tag": 5, "count": 8,
                                "from": [["input", 0]], "to": [["output", 0]]}]},
      {"scratch": 0, "steps": [{"do": "wait", "peer": 0, "tag": 5}]}
    ]})");
  const Call call{.collective = Collective::kBroadcast, .count = 16};
  EXPECT_TRUE(make_plan(call, inputs, true));
  const auto refused = make_plan(call, inputs, false);
  ASSERT_FALSE(refused);
  EXPECT_THAT(std::string(refused.error().message()), HasSubstr("RAILCCL_SCHEDULE_FILE"));
  EXPECT_THAT(std::string(refused.error().message()), HasSubstr("calls that are in place"));
}

TEST_F(ScheduleFile, ErrorsNameTheFileAndThePlace) {
  const auto message = [&](const std::string& text) {
    const auto schedule = read(text);
    EXPECT_FALSE(schedule);
    return schedule ? "" : std::string(schedule.error().message());
  };
  EXPECT_THAT(message("{\n  \"format\": oops"), HasSubstr(path_));
  EXPECT_THAT(message("{\n  \"format\": oops"), HasSubstr("line 2"));
  ScheduleSet broken = ring(false);
  std::erase_if(broken.ranks[2].steps,
                [](const Step& step) { return step.kind == StepKind::kWait; });
  const std::string text = message(write_schedules(broken));
  EXPECT_THAT(text, HasSubstr(path_));
  EXPECT_THAT(text, HasSubstr("rank 2"));
  EXPECT_THAT(text, HasSubstr("step"));
  unlink(path_.c_str());
  const auto absent = UserSchedule::read(path_);
  ASSERT_FALSE(absent);
  EXPECT_THAT(std::string(absent.error().message()), HasSubstr("cannot read the schedule file"));
}

}  // namespace
}  // namespace railccl
