#include "src/core/tuner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace railccl {
namespace {

constexpr uint64_t kSmallestPieceBytes = 32768;
constexpr uint64_t kAlignElements = 64;
constexpr uint64_t kMaxPieces = uint64_t{1} << 20;
constexpr double kAboutAsLong = 1.08;
constexpr double kNotWorthCutting = 100e-6;  // seconds; the processor has more to do for it

bool fits(const Cost& cost, const Shape& shape, size_t element, const TuningLimits& limits) {
  const double scratch = cost.scratch * static_cast<double>(shape.piece * element);
  // Chunk boundaries are rounded up to whole cache lines by the generators.
  const double rounding = 4096.0 + 64.0 * static_cast<double>(element) * shape.layout->ranks();
  return cost.scratch == 0 || scratch + rounding <= static_cast<double>(limits.slot_bytes);
}

std::vector<uint64_t> piece_sizes(const Shape& shape, size_t element, const TuningLimits& limits) {
  // Each of the least number of channels has a piece, as far as the data can be cut.
  const auto channels = static_cast<uint64_t>(limits.min_channels);
  const uint64_t share = (shape.block + channels - 1) / channels;
  const uint64_t largest =
      std::min(shape.block, (share + kAlignElements - 1) / kAlignElements * kAlignElements);
  const auto elements = [&](uint64_t bytes) {
    const uint64_t rounded = bytes / element / kAlignElements * kAlignElements;
    return std::clamp<uint64_t>(rounded, 1, largest);
  };
  if (limits.piece_bytes > 0) return {elements(limits.piece_bytes)};
  std::vector<uint64_t> sizes = {largest};
  uint64_t bytes = kSmallestPieceBytes;
  for (; bytes < largest * element && bytes <= (uint64_t{64} << 20); bytes *= 2) {
    if (shape.block / elements(bytes) < kMaxPieces) sizes.push_back(elements(bytes));
  }
  return sizes;
}

int pieces_under_way(const Algorithm& algorithm, const TuningLimits& limits) {
  return limits.depth * std::min(algorithm.channels, limits.max_channels);
}

// The largest piece of those that take about as long as the best.
Candidate largest_good_piece(const std::vector<Candidate>& fitting) {
  const double least = std::ranges::min(fitting, {}, &Candidate::seconds).seconds;
  const double most = std::min(least * kAboutAsLong, least + kNotWorthCutting);
  Candidate best;
  for (const Candidate& each : fitting) {
    if (each.seconds <= most && each.piece > best.piece) best = each;
  }
  return best;
}

Candidate consider(const Algorithm& algorithm, const Shape& shape, size_t element,
                   const MachineModel& machine, const TuningLimits& limits) {
  Candidate best{.algorithm = &algorithm, .piece = 0, .seconds = 0, .unsuitable = {}};
  if (!limits.allowed.empty() && std::find(limits.allowed.begin(), limits.allowed.end(),
                                           algorithm.name) == limits.allowed.end()) {
    best.unsuitable = "not among the allowed algorithms";
    return best;
  }
  const int under_way = pieces_under_way(algorithm, limits);
  std::vector<Candidate> fitting;
  for (const uint64_t piece : piece_sizes(shape, element, limits)) {
    Shape tried = shape;
    tried.piece = piece;
    const std::string reason = algorithm.unsuitable(tried);
    if (!reason.empty()) {
      best.unsuitable = reason;
      continue;
    }
    const Cost cost = algorithm.cost(tried);
    if (!fits(cost, tried, element, limits)) {
      best.unsuitable = "its scratch does not fit RAILCCL_BUFFSIZE";
      continue;
    }
    fitting.push_back(
        {.algorithm = &algorithm,
         .piece = piece,
         .seconds = predict(cost, tried, element, machine, under_way),
         .work = (cost.bytes_sent_inter + cost.bytes_sent_local + cost.elements_reduced) *
                 static_cast<double>(shape.block * element),
         .unsuitable = {}});
  }
  return fitting.empty() ? best : largest_good_piece(fitting);
}

// Without an algorithm when none is suitable.
Candidate best_of(const std::vector<Candidate>& considered) {
  double least = std::numeric_limits<double>::infinity();
  for (const Candidate& each : considered) {
    if (each.unsuitable.empty()) least = std::min(least, each.seconds);
  }
  const auto rank = [](const Candidate& each) { return std::tuple(each.work, each.seconds); };
  Candidate best;
  for (const Candidate& each : considered) {
    if (!each.unsuitable.empty() || each.seconds > kAboutAsLong * least) continue;
    if (best.algorithm == nullptr || rank(each) < rank(best)) best = each;
  }
  return best;
}

}  // namespace

double predict(const Cost& cost, const Shape& shape, size_t element_bytes,
               const MachineModel& machine, int under_way) {
  const auto bytes = static_cast<double>(element_bytes);
  const auto block = static_cast<double>(shape.block);
  const auto piece = static_cast<double>(shape.piece);
  // The receiver of a large put says first where to, and acknowledges it; a message is copied.
  const bool large = cost.largest_put * piece * bytes > static_cast<double>(machine.eager_bytes);
  const double announced = large ? machine.network_latency_s + machine.network_put_s : 0;
  const double copied = large ? 0 : cost.bytes_sent_inter;
  const double latency = announced + cost.latency_steps_inter * machine.network_latency_s +
                         cost.latency_steps_local * machine.local_latency_s;
  const double network = cost.bytes_sent_inter * bytes / machine.network_bytes_per_second;
  // The first piece takes its whole way before the others are behind it.
  const double way = std::max(cost.path_elements_inter, cost.bytes_sent_inter) * bytes /
                     machine.network_bytes_per_second;
  const double memory = 2 * (cost.bytes_sent_local + cost.elements_reduced + copied) * bytes /
                        machine.memory_bytes_per_second;
  const double puts = (large ? 2 : 1) * cost.latency_steps_inter * machine.network_put_s;
  const double first = latency + puts + piece * (way + memory);
  const double further =
      std::max({puts + piece * network, piece * memory, first / static_cast<double>(under_way)});
  return first + (block / piece - 1) * further;
}

Result<Decision> decide(const Shape& shape, size_t element_bytes, const MachineModel& machine,
                        const TuningLimits& limits) {
  Decision decision;
  for (const Algorithm& algorithm : catalog()) {
    if (algorithm.collective != shape.collective) continue;
    decision.considered.push_back(consider(algorithm, shape, element_bytes, machine, limits));
  }
  decision.chosen = best_of(decision.considered);
  if (decision.chosen.algorithm == nullptr) {
    std::string reasons;
    for (const Candidate& candidate : decision.considered) {
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", candidate.algorithm->name,
                             candidate.unsuitable);
    }
    return error(Code::kInvalidUsage, "no algorithm for {} of {} elements on {} ranks ({})",
                 collective_name(shape.collective), shape.block, shape.layout->ranks(), reasons);
  }
  const uint64_t pieces = (shape.block + decision.chosen.piece - 1) / decision.chosen.piece;
  const int wanted =
      std::clamp(decision.chosen.algorithm->channels, limits.min_channels, limits.max_channels);
  decision.channels =
      static_cast<int>(std::clamp<uint64_t>(pieces, 1, static_cast<uint64_t>(wanted)));
  decision.depth = limits.depth;
  return decision;
}

void predict_again(Decision& decision, const Shape& shape, size_t element_bytes,
                   const MachineModel& machine, const TuningLimits& limits) {
  const auto again = [&](Candidate& candidate) {
    if (!candidate.unsuitable.empty()) return;
    Shape cut = shape;
    cut.piece = candidate.piece;
    candidate.seconds = predict(candidate.algorithm->cost(cut), cut, element_bytes, machine,
                                pieces_under_way(*candidate.algorithm, limits));
  };
  for (Candidate& candidate : decision.considered) again(candidate);
  again(decision.chosen);
}

}  // namespace railccl
