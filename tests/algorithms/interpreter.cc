#include "tests/algorithms/interpreter.h"

#include <fmt/format.h>

namespace railccl {
namespace {

// NCCL's definitions, written down a second time on purpose.
uint64_t input_blocks(const Shape& s, int rank) {
  const auto n = static_cast<uint64_t>(s.layout->ranks());
  switch (s.collective) {
    case Collective::kReduceScatter:
    case Collective::kAllToAll:
      return n;
    case Collective::kBroadcast:
      return rank == s.root ? 1 : 0;
    case Collective::kScatter:
      return rank == s.root ? n : 0;
    default:
      return 1;
  }
}

uint64_t output_blocks(const Shape& s, int rank) {
  const auto n = static_cast<uint64_t>(s.layout->ranks());
  switch (s.collective) {
    case Collective::kAllGather:
    case Collective::kAllToAll:
      return n;
    case Collective::kReduce:
      return rank == s.root ? 1 : 0;
    case Collective::kGather:
      return rank == s.root ? n : 0;
    default:
      return 1;
  }
}

}  // namespace

Interpreter::Interpreter(const Algorithm& algorithm, const Shape& shape, int depth, Combine combine,
                         uint32_t seed)
    : shape_(shape),
      combine_(std::move(combine)),
      random_(seed),
      channels_(static_cast<size_t>(algorithm.channels)),
      depth_(static_cast<size_t>(depth)) {
  const int ranks = shape.layout->ranks();
  pieces_ = (shape.block + shape.piece - 1) / shape.piece;
  shape_.channels = algorithm.channels;
  shape_.max_piece = shape.piece;
  for (size_t channel = 0; channel < channels_; ++channel) {
    Shape whole = shape_;
    whole.channel = static_cast<int>(channel);
    Shape rest = whole;
    rest.piece = shape.block - (pieces_ - 1) * shape.piece;
    std::vector<Schedule> of_whole;
    std::vector<Schedule> of_rest;
    for (int rank = 0; rank < ranks; ++rank) {
      of_whole.push_back(algorithm.generate(whole, rank));
      of_rest.push_back(algorithm.generate(rest, rank));
    }
    full_.push_back(std::move(of_whole));
    last_.push_back(std::move(of_rest));
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const uint64_t in = input_blocks(shape_, rank) * shape.block;
    const uint64_t out = output_blocks(shape_, rank) * shape.block;
    User user{.input = std::vector<uint64_t>(in, kGarbage),
              .output = std::vector<uint64_t>(out, kGarbage)};
    const bool aliased = shape.in_place && in > 0 && out > 0;
    const uint64_t shift = aliased && out > in ? static_cast<uint64_t>(rank) * shape.block : 0;
    std::vector<uint64_t>& home = aliased && out >= in ? user.output : user.input;
    for (uint64_t i = 0; i < in; ++i) home[shift + i] = input_value(rank, i);
    users_.push_back(std::move(user));
    std::vector<Lane> lanes(channels_ * depth_);
    for (uint64_t piece = 0; piece < pieces_; ++piece) {
      const size_t channel = piece % channels_;
      const size_t slot = piece / channels_ % depth_;
      lanes[channel * depth_ + slot].pieces.push_back(piece);
    }
    for (size_t i = 0; i < lanes.size(); ++i) {
      lanes[i].scratch.assign(full_[i / depth_][static_cast<size_t>(rank)].scratch_elements,
                              kGarbage);
    }
    lanes_.push_back(std::move(lanes));
  }
}

const Schedule& Interpreter::schedule(int rank, uint64_t piece) const {
  const auto& sets = piece + 1 == pieces_ ? last_ : full_;
  return sets[piece % channels_][static_cast<size_t>(rank)];
}

uint64_t* Interpreter::place(int self, const Slice& slice, uint64_t piece, size_t lane) {
  const int owner = slice.owner == kSelf ? self : slice.owner;
  User& user = users_[static_cast<size_t>(owner)];
  if (user.ended) user.taken = true;
  if (slice.buffer == BufferId::kScratch) {
    return lanes_[static_cast<size_t>(owner)][lane].scratch.data() + slice.offset;
  }
  uint64_t offset = slice.offset + piece * shape_.piece;
  const uint64_t in = input_blocks(shape_, owner);
  const uint64_t out = output_blocks(shape_, owner);
  const bool input = slice.buffer == BufferId::kInput;
  const bool aliased = shape_.in_place && in > 0 && out > 0;
  const bool in_output = aliased ? out >= in : !input;
  const bool smaller = input ? in < out : out < in;
  if (aliased && smaller) offset += static_cast<uint64_t>(owner) * shape_.block;
  return (in_output ? user.output : user.input).data() + offset;
}

void Interpreter::combine(int rank, const Schedule& schedule, const Step& step, uint64_t piece,
                          size_t lane) {
  const Slice* const dsts = schedule.slices.data() + step.first_slice;
  const Slice* const srcs = dsts + step.num_dsts;
  std::vector<uint64_t> result(step.count);
  for (uint64_t i = 0; i < step.count; ++i) {
    result[i] = place(rank, srcs[0], piece, lane)[i];
    for (size_t s = 1; s < step.num_srcs; ++s) {
      result[i] = combine_(result[i], place(rank, srcs[s], piece, lane)[i]);
    }
  }
  for (size_t d = 0; d < step.num_dsts; ++d) {
    std::copy(result.begin(), result.end(), place(rank, dsts[d], piece, lane));
  }
}

void Interpreter::finish_put(int rank, Lane& lane, size_t lane_number, size_t put) {
  const PendingPut done = lane.puts[put];
  lane.puts.erase(lane.puts.begin() + static_cast<std::ptrdiff_t>(put));
  const Slice* const slices = done.schedule->slices.data() + done.step->first_slice;
  const uint64_t* const from = place(rank, slices[1], done.piece, lane_number);
  std::copy(from, from + done.step->count, place(done.to, slices[0], done.piece, lane_number));
  notifications_.emplace(rank, done.to, done.piece, done.step->tag);
}

// False: it must wait.
bool Interpreter::step_once(int rank, Lane& lane, size_t lane_number) {
  const uint64_t piece = lane.pieces[lane.lap];
  const Schedule& program = schedule(rank, piece);
  const Step& step = program.steps[lane.pc];
  switch (step.kind) {
    case StepKind::kPut:
      lane.puts.push_back({step.peer, piece, &step, &program});
      return true;
    case StepKind::kSignal:
      if (step.previous_lap) {
        if (!lane.puts.empty()) return false;
        if (lane.lap + 1 == lane.pieces.size()) return true;  // nobody will wait for it
      }
      notifications_.emplace(rank, step.peer, piece, step.tag);
      return true;
    case StepKind::kWait: {
      if (step.previous_lap && lane.lap == 0) return true;
      const uint64_t of = step.previous_lap ? lane.pieces[lane.lap - 1] : piece;
      return notifications_.erase({step.peer, rank, of, step.tag}) == 1;
    }
    case StepKind::kReduce:
    case StepKind::kCopy:
      combine(rank, program, step, piece, lane_number);
      return true;
  }
  return false;
}

bool Interpreter::advance(int rank, size_t lane_number) {
  Lane& lane = lanes_[static_cast<size_t>(rank)][lane_number];
  if (!lane.puts.empty() && random_() % 3 == 0) {
    finish_put(rank, lane, lane_number, random_() % lane.puts.size());
    return true;
  }
  if (lane.lap == lane.pieces.size()) return false;
  if (lane.pc < schedule(rank, lane.pieces[lane.lap]).steps.size()) {
    if (!step_once(rank, lane, lane_number)) return !lane.puts.empty();
    ++lane.pc;
    return true;
  }
  if (!lane.puts.empty()) return true;
  ++lane.lap;
  lane.pc = 0;
  return true;
}

std::string Interpreter::run() {
  const size_t ranks = users_.size();
  const size_t lanes = channels_ * depth_;
  // Ranks with more luck run ahead.
  std::vector<size_t> tickets;
  for (size_t rank = 0; rank < ranks; ++rank)
    tickets.insert(tickets.end(), 1 + random_() % 8, rank);
  size_t idle = 0;
  size_t ended = 0;
  while (ended < ranks) {
    // A long row of fruitless tries is followed by one try of everything.
    const bool exhaustive = idle > 50 * ranks * lanes;
    bool moved = false;
    for (size_t i = 0; i < (exhaustive ? ranks * lanes * 4 : 1); ++i) {
      const size_t rank = exhaustive ? i / 4 / lanes : tickets[random_() % tickets.size()];
      if (users_[rank].ended) continue;
      moved |= advance(static_cast<int>(rank), exhaustive ? i / 4 % lanes : random_() % lanes);
      bool all = true;
      for (const Lane& lane : lanes_[rank]) all = all && lane.lap == lane.pieces.size();
      if (!all) continue;
      users_[rank].ended = true;
      ++ended;
      moved = true;
    }
    if (!moved && exhaustive) return "no rank can go on";
    idle = moved ? 0 : idle + 1;
  }
  if (!notifications_.empty()) {
    return fmt::format("{} notifications were not waited for", notifications_.size());
  }
  for (size_t rank = 0; rank < ranks; ++rank) {
    if (users_[rank].taken) return fmt::format("rank {}'s memory was used after its end", rank);
  }
  // In place, the smaller output is a part of the input.
  for (size_t rank = 0; rank < ranks; ++rank) {
    User& user = users_[rank];
    if (!shape_.in_place || user.output.empty() || user.input.size() <= user.output.size())
      continue;
    const auto begin = user.input.begin() + static_cast<std::ptrdiff_t>(rank * shape_.block);
    user.output.assign(begin, begin + static_cast<std::ptrdiff_t>(shape_.block));
  }
  return "";
}

}  // namespace railccl
