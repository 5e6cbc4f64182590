#include "tests/simulate/workload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "algorithms/schedule.h"

namespace railccl::simulate {
namespace {

using Random = std::mt19937_64;

constexpr uint64_t kKiB = 1024;

uint64_t between(Random& random, uint64_t low, uint64_t high) {
  return low + random() % (high - low + 1);
}

// Most runs are small, some are not.
int random_ranks(Random& random) {
  const uint64_t kind = random() % 100;
  if (kind < 55) return 2;
  if (kind < 80) return static_cast<int>(between(random, 3, 4));
  if (kind < 95) return static_cast<int>(between(random, 5, 8));
  if (kind < 99) return static_cast<int>(between(random, 9, 16));
  return random() % 4 == 0 ? 64 : static_cast<int>(between(random, 17, 63));
}

// Mostly a rank per node, since rails are what is tested; some nodes have several, in any order.
std::vector<int> random_nodes(Random& random, int ranks) {
  std::vector<int> nodes;
  const bool alone = ranks == 2 || random() % 4 != 0;
  const uint64_t count =
      alone ? static_cast<uint64_t>(ranks) : between(random, 2, static_cast<uint64_t>(ranks) - 1);
  for (int rank = 0; rank < ranks; ++rank) {
    const auto number = static_cast<uint64_t>(rank);
    nodes.push_back(static_cast<int>(number < count ? number : random() % count));
  }
  return nodes;
}

size_t random_rails(Random& random, int ranks) {
  if (ranks > 16) return between(random, 1, 2);
  const uint64_t kind = random() % 10;
  if (kind < 2) return 1;
  if (kind < 8) return between(random, 2, 3);
  return between(random, 4, 8);
}

LinkOptions random_link(Random& random) {
  LinkOptions link;
  link.chunk_bytes = random() % 4 == 0 ? 0 : between(random, 1, 12) * kKiB;
  link.small_put_bytes = between(random, 1, 6) * kKiB;
  link.message_ring_bytes = 3 * kMaxMessageBytes;
  link.striping = random() % 4 == 0 ? Striping::kEqual : Striping::kMeasured;
  link.rail_timeout_ns = between(random, 1, 5) * kMillisecond;
  link.link_timeout_ns = kSecond;
  link.check = random() % 4 == 0;
  link.probe_pause_ns = between(random, 50, 500) * kMicrosecond;
  link.probe_pause_max_ns = between(random, 5, 20) * kMillisecond;
  link.rate_window_ns = 200 * kMicrosecond;
  link.rate_memory_ns = kMillisecond;
  link.slow_after_ns = 300 * kMicrosecond;
  link.slow_after_bytes = 16 * kKiB;
  link.sample_every_ns = 100 * kMicrosecond;
  link.sample_every_bytes = 16 * kKiB;
  return link;
}

void choose_membership(Random& random, Workload& workload) {
  workload.control_delay = between(random, 30, 400) * kMicrosecond;
  workload.silence_timeout_ns = between(random, 100, 400) * kMillisecond;
  workload.roots = static_cast<int>(
      random() % 4 == 0 ? between(random, 1, static_cast<uint64_t>(workload.ranks)) : 1);
  workload.tree_arity = static_cast<int>(between(random, 1, 8));
  for (int rank = 0; rank < workload.ranks; ++rank) {
    workload.arrival.push_back(random() % 2 == 0 ? 0 : between(random, 1, 300) * kMicrosecond);
  }
  const TimeNs pause = (workload.ranks > 8 ? 1000 : 150) * kMicrosecond;
  workload.rail_watch = {.pause_ns = pause,
                         .lasting_ns = pause * (random() % 3),
                         .rate_lasting_ns = pause * (random() % 3),
                         .sample_bytes = 16 * kKiB};
  workload.picture_pause_ns = between(random, 100, 1000) * kMicrosecond;
}

SimRailConfig random_rail(Random& random) {
  SimRailConfig rail;
  rail.bytes_per_second = between(random, 100, 1000) * 1'000'000;
  rail.latency_ns = between(random, 2, 20) * kMicrosecond;
  rail.max_outstanding_puts = random() % 4 == 0 ? between(random, 2, 8) : 256;
  rail.connect_timeout_ns = 4 * kMillisecond;
  rail.close_ns = between(random, 1, 30) * kMicrosecond;
  rail.retry_ns = between(random, 100, 2000) * kMicrosecond;
  rail.close_is_seen = random() % 2 == 0;
  return rail;
}

// How long a NIC may be busy with what a node of a tree sends its three neighbours. A rail timeout
// below that blames rails that only wait for their turn (seed 97736: 1 ms, a tree over one rail).
TimeNs queue_ns(const std::vector<SimRailConfig>& rails, uint64_t bytes_to_one) {
  const auto slowest = std::ranges::min_element(rails, {}, &SimRailConfig::bytes_per_second);
  return static_cast<TimeNs>(3 * bytes_to_one * kSecond / slowest->bytes_per_second);
}

// With a generator of its own: other draws are what they were before there were such rails.
int random_standby(uint64_t seed, size_t rails) {
  Random random(seed * 0x9e3779b97f4a7c15ull + 5);
  if (rails < 2 || random() % 4 != 0) return 0;
  return static_cast<int>(between(random, 1, rails - 1));
}

// Sums of floats depend on their order: what must be bit-equal should be able to differ.
DataType random_type(Random& random) {
  constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat32, DataType::kBfloat16,
                                 DataType::kInt32,   DataType::kUint8,   DataType::kFloat64};
  return kTypes[random() % std::size(kTypes)];
}

ReduceOp random_op(Random& random, DataType type) {
  const bool whole = type == DataType::kInt32 || type == DataType::kUint8;
  constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin,
                               ReduceOp::kAvg};
  const ReduceOp op = kOps[random() % std::size(kOps)];
  return whole && op == ReduceOp::kAvg ? ReduceOp::kSum : op;
}

// Algorithms of the catalog that can run it with these pieces and this scratch.
std::vector<std::string> suitable(const Workload& workload, const OperationSpec& spec) {
  std::vector<std::string> names;
  PlanInputs inputs = workload.plan_inputs(0);
  const Call call = workload.call(spec);
  inputs.allowed.assign(kCollectives, {});
  for (const Algorithm& algorithm : catalog()) {
    if (algorithm.collective != spec.collective) continue;
    const std::string name(algorithm.name);
    inputs.allowed[static_cast<size_t>(spec.collective)] = {name};
    if (decide(call, inputs)) names.push_back(name);
  }
  return names;
}

bool may_be_in_place(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kBroadcast ||
         collective == Collective::kReduce;
}

bool has_blocks(Collective collective) {
  return collective == Collective::kAllGather || collective == Collective::kReduceScatter ||
         collective == Collective::kAllToAll || collective == Collective::kGather ||
         collective == Collective::kScatter;
}

OperationSpec random_operation(Random& random, const Workload& workload) {
  OperationSpec spec;
  spec.collective = static_cast<Collective>(random() % kCollectives);
  spec.type = random_type(random);
  spec.op = random_op(random, spec.type);
  const auto ranks = static_cast<uint64_t>(workload.ranks);
  const bool pairs = spec.collective == Collective::kSendRecv;
  spec.root = static_cast<int>(pairs ? between(random, 1, ranks - 1) : random() % ranks);
  spec.in_place = may_be_in_place(spec.collective) && random() % 2 == 0;
  uint64_t bytes = random() % 6 == 0 ? between(random, 1, 2000) : between(random, 8, 160) * kKiB;
  if (ranks > 4) bytes /= 2;
  if (ranks > 8) bytes = std::min<uint64_t>(bytes, 24 * kKiB);
  if (has_blocks(spec.collective)) bytes /= ranks;
  spec.count = std::max<uint64_t>(1, bytes / element_bytes(spec.type));
  const std::vector<std::string> names = suitable(workload, spec);
  if (!names.empty()) spec.algorithm = names[random() % names.size()];
  if (!names.empty() && is_order_free(workload.call(spec))) {
    spec.alternative = names[random() % names.size()];
  }
  for (uint64_t rank = 0; rank < ranks; ++rank) {
    spec.pause.push_back(random() % 3 != 0 ? 0 : between(random, 1, 400) * kMicrosecond);
  }
  return spec;
}

float small_float(uint64_t bits) {
  return (static_cast<float>(bits & 0xffff) - 32768.0f) * 1.1e-3f;
}

void write_element(std::byte* at, DataType type, uint64_t bits) {
  const float value = small_float(bits);
  switch (type) {
    case DataType::kFloat32:
      std::memcpy(at, &value, sizeof value);
      break;
    case DataType::kFloat64: {
      const double wide = static_cast<double>(value) * 1.000000001;
      std::memcpy(at, &wide, sizeof wide);
      break;
    }
    case DataType::kBfloat16:
      std::memcpy(at, reinterpret_cast<const std::byte*>(&value) + 2, 2);
      break;
    default:
      std::memcpy(at, &bits, element_bytes(type));
  }
}

}  // namespace

PlanInputs Workload::plan_inputs(int rank) const {
  PlanInputs inputs;
  inputs.rank = rank;
  inputs.layout = std::make_shared<const Layout>(make_layout(nodes));
  inputs.direct = direct;
  inputs.scratch_bytes = scratch_bytes;
  inputs.eager_bytes = eager_bytes;
  inputs.depth = depth;
  inputs.piece_bytes = piece_bytes;
  inputs.max_channels = channels;
  return inputs;
}

PlanInputs Workload::alternative_inputs(const OperationSpec& spec) const {
  PlanInputs inputs = plan_inputs(0);
  inputs.piece_bytes = std::max<uint64_t>(kKiB, piece_bytes / 2);
  inputs.allowed.assign(kCollectives, {});
  inputs.allowed[static_cast<size_t>(spec.collective)] = {spec.alternative};
  return inputs;
}

Call Workload::call(const OperationSpec& spec) const {
  return {.collective = spec.collective,
          .type = spec.type,
          .op = is_reduction(spec.collective) ? spec.op : ReduceOp::kSum,
          .root = is_rooted(spec.collective) ? spec.root : 0,
          .count = spec.count};
}

Workload make_workload(uint64_t seed) {
  Random random(seed * 0xd1342543de82ef95ull + 11);
  Workload workload;
  workload.seed = seed;
  workload.ranks = random_ranks(random);
  workload.nodes = random_nodes(random, workload.ranks);
  workload.direct = random() % 2 == 0;
  const size_t rails = random_rails(random, workload.ranks);
  const SimRailConfig first = random_rail(random);
  const bool alike = random() % 2 == 0;
  for (size_t i = 0; i < rails; ++i) {
    workload.rails.push_back(alike ? first : random_rail(random));
  }
  workload.standby_rails = random_standby(seed, rails);
  const bool equal = random() % 8 != 0;
  for (int rank = 0; rank < workload.ranks; ++rank) {
    workload.rails_used.push_back(static_cast<int>(equal ? rails : between(random, 1, rails)));
  }
  workload.cross = random() % 2 == 0 ? CrossRail::kAligned : CrossRail::kAllowed;
  workload.link = random_link(random);
  constexpr uint64_t kEager[] = {0, 256, 1024, 2048};
  workload.eager_bytes = kEager[random() % std::size(kEager)];
  workload.credit_bytes = between(random, 8, 64) * kKiB;
  workload.depth = static_cast<int>(between(random, 1, 4));
  workload.channels = static_cast<int>(between(random, 1, 2));
  workload.piece_bytes = between(random, 2, 48) * kKiB;
  choose_membership(random, workload);
  workload.keep_registered = random() % 2 == 0;
  const uint64_t slots =
      static_cast<uint64_t>(workload.depth) * static_cast<uint64_t>(workload.channels);
  workload.link.rail_timeout_ns = std::max(workload.link.rail_timeout_ns,
                                           queue_ns(workload.rails, slots * workload.piece_bytes));
  const auto ranks = static_cast<uint64_t>(workload.ranks);
  // What the largest algorithm needs of a slot (tuner.cc: rounding of blocks to cache lines).
  workload.scratch_bytes =
      slots * (workload.piece_bytes * (ranks > 8 ? ranks : 8) + 8192 + 1024 * ranks);
  uint64_t operations = workload.ranks > 16 ? 1 : between(random, 1, 4);
  if (workload.ranks <= 4 && random() % 4 == 0) operations += between(random, 2, 8);
  for (uint64_t i = 0; i < operations; ++i) {
    workload.operations.push_back(random_operation(random, workload));
  }
  return workload;
}

int Workload::common_rails() const {
  return *std::min_element(rails_used.begin(), rails_used.end());
}

std::string to_string(const Workload& workload) {
  std::string text =
      fmt::format("{} ranks on nodes {}, {} rails, pieces of {} bytes, depth {}, eager {}",
                  workload.ranks, fmt::join(workload.nodes, " "),
                  workload.common_rails() == static_cast<int>(workload.rails.size())
                      ? fmt::format("{}", workload.rails.size())
                      : fmt::format("{}", fmt::join(workload.rails_used, "/")),
                  workload.piece_bytes, workload.depth, workload.eager_bytes);
  if (workload.standby_rails > 0) {
    text += fmt::format(", the last {} of the rails stand by", workload.standby_rails);
  }
  for (size_t i = 0; i < workload.operations.size(); ++i) {
    const OperationSpec& spec = workload.operations[i];
    text += fmt::format("; {} by {}{}", to_string(workload.call(i).fingerprint()), spec.algorithm,
                        spec.in_place ? " in place" : "");
    if (spec.collective == Collective::kSendRecv) text += fmt::format("rank + {}", spec.root);
  }
  return text;
}

std::vector<std::byte> input_data(const Workload& workload, size_t index, int rank) {
  const Call call = workload.call(index);
  std::vector<std::byte> data(input_bytes(call, rank, workload.ranks));
  uint64_t state =
      (workload.seed * 64 + index) * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(rank) * 7919 + 1;
  const size_t element = call.element();
  for (size_t at = 0; at + element <= data.size(); at += element) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    write_element(data.data() + at, call.type, state >> 20);
  }
  return data;
}

}  // namespace railccl::simulate
