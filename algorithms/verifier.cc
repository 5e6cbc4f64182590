#include "algorithms/verifier.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "algorithms/node_stage.h"
#include "algorithms/notifications.h"
#include "algorithms/verify_play.h"
#include "algorithms/verify_structure.h"

namespace railccl {
namespace {

using namespace algorithms;

Status check_piece_sizes(const ScheduleSet& set, const ScheduleSet* tail) {
  const Shape& shape = set.shape;
  const uint64_t rest = shape.block % shape.piece;
  if ((tail == nullptr ? 0 : tail->shape.piece) != rest) {
    return error(Code::kInvalidArgument,
                 "pieces of {} elements leave {} of {} for the last, whose schedules are for {}",
                 shape.piece, rest, shape.block, tail == nullptr ? 0 : tail->shape.piece);
  }
  if (tail == nullptr) return Status::ok();
  for (size_t rank = 0; rank < set.ranks.size(); ++rank) {
    if (tail->ranks[rank].scratch_elements <= set.ranks[rank].scratch_elements) continue;
    return error(Code::kInvalidArgument, "rank {}: the shorter last piece uses more scratch", rank);
  }
  return Status::ok();
}

RankAmounts count(const Schedule& schedule, const Layout& layout, int rank) {
  RankAmounts amounts{.scratch = schedule.scratch_elements};
  for (const Step& step : schedule.steps) {
    if (step.kind == StepKind::kPut) {
      const bool local = layout.same_node(step.peer, rank);
      (local ? amounts.local : amounts.inter) += step.count;
      if (!local) amounts.largest_put = std::max(amounts.largest_put, step.count);
    }
    if (step.kind == StepKind::kReduce) amounts.reduced += step.count * (step.num_srcs - 1u);
    if (!is_data(step)) continue;
    for (const auto slices : {destinations(schedule, step), sources(schedule, step)}) {
      for (const Slice& slice : slices) amounts.local += slice.owner == kSelf ? 0 : step.count;
    }
  }
  return amounts;
}

// The parts of a piece differ by up to 16 elements, each slice of a rank may be off by that; but a
// piece that splits evenly among ranks, among columns and nodes, and among as many of those as make
// a power of two is counted exactly.
double rounding(const ScheduleSet& set) {
  const Layout& layout = *set.shape.layout;
  const uint64_t piece = set.shape.piece;
  const int columns = columns_of(layout);
  const auto splits = [piece](int parts) {
    return piece % (16 * static_cast<uint64_t>(parts)) == 0;
  };
  const auto nodes = static_cast<unsigned>(layout.nodes());
  if (splits(layout.ranks()) && splits(columns * layout.nodes()) &&
      splits(columns * static_cast<int>(std::bit_floor(nodes)))) {
    return 1e-9;
  }
  size_t slices = 0;
  for (const Schedule& schedule : set.ranks) slices = std::max(slices, schedule.slices.size());
  const size_t parts = std::max(slices, static_cast<size_t>(layout.ranks()));
  return 16.0 * static_cast<double>(parts + 1) / static_cast<double>(piece);
}

Status compare(const Cost& declared, const Cost& counted, double tolerance) {
  const auto differ = [](std::string_view what, double d, double c) {
    return error(Code::kInvalidArgument, "cost: {} declared {}, counted {}", what, d, c);
  };
  if (declared.latency_steps_inter != counted.latency_steps_inter) {
    return differ("latency_steps_inter", declared.latency_steps_inter, counted.latency_steps_inter);
  }
  if (declared.latency_steps_local != counted.latency_steps_local) {
    return differ("latency_steps_local", declared.latency_steps_local, counted.latency_steps_local);
  }
  const auto far = [tolerance](double d, double c) { return std::abs(d - c) > tolerance; };
  if (far(declared.bytes_sent_inter, counted.bytes_sent_inter)) {
    return differ("bytes_sent_inter", declared.bytes_sent_inter, counted.bytes_sent_inter);
  }
  // What a rank sends is a path, too.
  const auto path = [](const Cost& cost) {
    return std::max(cost.path_elements_inter, cost.bytes_sent_inter);
  };
  if (far(path(declared), path(counted))) {
    return differ("path_elements_inter", path(declared), path(counted));
  }
  if (far(declared.largest_put, counted.largest_put)) {
    return differ("largest_put", declared.largest_put, counted.largest_put);
  }
  if (far(declared.bytes_sent_local, counted.bytes_sent_local)) {
    return differ("bytes_sent_local", declared.bytes_sent_local, counted.bytes_sent_local);
  }
  if (far(declared.elements_reduced, counted.elements_reduced)) {
    return differ("elements_reduced", declared.elements_reduced, counted.elements_reduced);
  }
  if (far(declared.scratch, counted.scratch)) {
    return differ("scratch", declared.scratch, counted.scratch);
  }
  return Status::ok();
}

}  // namespace

Result<ScheduleCounts> verify(const ScheduleSet& set, const ScheduleSet* tail) {
  RAILCCL_TRY(verify_structure(set));
  ScheduleCounts counted;
  const Layout& layout = *set.shape.layout;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    counted.ranks.push_back(count(set.ranks[static_cast<size_t>(rank)], layout, rank));
  }
  if (set.shape.piece == 0) return counted;
  RAILCCL_ASSIGN(const Notifications notifications, Notifications::match(set));
  RAILCCL_ASSIGN(const Notifications credits, Notifications::match_credits(set, set));
  std::vector<Player::Lap> laps = {{&set, &notifications, nullptr, true}};
  if (set.shape.block / set.shape.piece > 1) {
    laps.push_back({&set, &notifications, &credits, false});
  }
  Notifications tail_notifications;
  Notifications tail_credits;
  if (tail != nullptr) {
    RAILCCL_TRY(verify_structure(*tail).with_context("last piece"));
    RAILCCL_TRY(check_piece_sizes(set, tail));
    RAILCCL_ASSIGN(tail_notifications, Notifications::match(*tail));
    RAILCCL_ASSIGN(tail_credits, Notifications::match_credits(set, *tail));
    laps.push_back({tail, &tail_notifications, &tail_credits, true});
  } else {
    RAILCCL_TRY(check_piece_sizes(set, tail));
  }
  Player player(laps);
  RAILCCL_TRY(player.run());
  counted.latency_steps_inter = player.longest_path_inter();
  counted.latency_steps_local = player.longest_path_local();
  counted.path_elements_inter = player.path_elements_inter();
  return counted;
}

Cost cost_of(const std::vector<ScheduleCounts>& channels, uint64_t piece) {
  Cost cost;
  const size_t ranks = channels[0].ranks.size();
  const auto elements = static_cast<double>(piece == 0 ? 1 : piece);
  const double per_channel = elements * static_cast<double>(channels.size());
  for (const ScheduleCounts& counted : channels) {
    cost.latency_steps_inter = std::max(cost.latency_steps_inter, counted.latency_steps_inter);
    cost.latency_steps_local = std::max(cost.latency_steps_local, counted.latency_steps_local);
    cost.path_elements_inter = std::max(
        cost.path_elements_inter, static_cast<double>(counted.path_elements_inter) / elements);
  }
  for (size_t rank = 0; rank < ranks; ++rank) {
    RankAmounts sum;
    for (const ScheduleCounts& counted : channels) {
      const RankAmounts& amounts = counted.ranks[rank];
      sum.inter += amounts.inter;
      sum.local += amounts.local;
      sum.reduced += amounts.reduced;
      cost.scratch = std::max(cost.scratch, static_cast<double>(amounts.scratch) / elements);
      cost.largest_put =
          std::max(cost.largest_put, static_cast<double>(amounts.largest_put) / elements);
    }
    const auto mean = [&](uint64_t total) { return static_cast<double>(total) / per_channel; };
    cost.bytes_sent_inter = std::max(cost.bytes_sent_inter, mean(sum.inter));
    cost.bytes_sent_local = std::max(cost.bytes_sent_local, mean(sum.local));
    cost.elements_reduced = std::max(cost.elements_reduced, mean(sum.reduced));
  }
  return cost;
}

ScheduleSet generate_all(const Algorithm& algorithm, const Shape& shape) {
  ScheduleSet set{.shape = shape, .ranks = {}};
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    set.ranks.push_back(algorithm.generate(shape, rank));
  }
  return set;
}

Status verify_algorithm(const Algorithm& algorithm, Shape shape) {
  if (const std::string reason = algorithm.unsuitable(shape); !reason.empty()) {
    return error(Code::kInvalidUsage, "{} cannot run this: {}", algorithm.name, reason);
  }
  std::vector<ScheduleCounts> counted;
  shape.channels = algorithm.channels;
  double tolerance = 0;
  for (shape.channel = 0; shape.channel < shape.channels; ++shape.channel) {
    const ScheduleSet set = generate_all(algorithm, shape);
    Shape rest = shape;
    rest.piece = shape.piece == 0 ? 0 : shape.block % shape.piece;
    rest.max_piece = shape.piece;
    const ScheduleSet tail = rest.piece == 0 ? ScheduleSet{} : generate_all(algorithm, rest);
    RAILCCL_ASSIGN(ScheduleCounts channel, verify(set, rest.piece == 0 ? nullptr : &tail));
    counted.push_back(std::move(channel));
    tolerance = rounding(set);
  }
  if (shape.piece == 0) return Status::ok();
  return compare(algorithm.cost(shape), cost_of(counted, shape.piece), tolerance);
}

}  // namespace railccl
