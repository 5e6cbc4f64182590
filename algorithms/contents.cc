#include "algorithms/contents.h"

#include <algorithm>

#include "algorithms/buffers.h"
#include "algorithms/verify_structure.h"

namespace railccl::algorithms {
namespace {

constexpr size_t kBuffers = 3;

int owner_of(const Slice& slice, int self) { return slice.owner == kSelf ? self : slice.owner; }

}  // namespace

Contents::Contents(const ScheduleSet& set)
    : set_(set), expressions_(set.shape.layout->order, set.shape.layout->position) {
  const Shape& shape = set.shape;
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    for (const BufferId buffer : {BufferId::kInput, BufferId::kOutput}) {
      memories_.emplace_back(user_blocks(shape, rank, buffer) * shape.block);
    }
    memories_.emplace_back(set.ranks[static_cast<size_t>(rank)].scratch_elements);
  }
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    const uint64_t size = user_blocks(shape, rank, BufferId::kInput) * shape.block;
    if (size == 0) continue;
    const Slice input = canonical(shape, rank, {.buffer = BufferId::kInput});
    memory(rank, input.buffer)
        .replace(input.offset, input.offset + size,
                 {expressions_.leaf(rank), -static_cast<int64_t>(input.offset)});
  }
  if (shape.collective == Collective::kAllReduce) agreed_ = RunMap<uint32_t>(shape.block);
}

RunMap<Contents::Value>& Contents::memory(int owner, BufferId buffer) {
  return memories_[static_cast<size_t>(owner) * kBuffers + static_cast<size_t>(buffer)];
}

Result<Contents::Runs> Contents::read(int owner, Slice slice, uint64_t count) {
  slice = canonical(set_.shape, owner, slice);
  Runs runs;
  bool undefined = false;
  memory(owner, slice.buffer)
      .visit(slice.offset, slice.offset + count, [&](uint64_t begin, uint64_t end, Value& value) {
        undefined |= value.expression == Expressions::kUndefined;
        const Value shifted{value.expression, value.shift + static_cast<int64_t>(slice.offset)};
        runs.push_back({begin - slice.offset, end - slice.offset, shifted});
      });
  if (undefined) {
    return error(Code::kInvalidArgument,
                 "it reads {} elements at {} of rank {} that are not all written in this piece",
                 count, slice.offset, owner);
  }
  return runs;
}

void Contents::write(int owner, Slice slice, const Runs& runs) {
  slice = canonical(set_.shape, owner, slice);
  RunMap<Value>& target = memory(owner, slice.buffer);
  for (const Run& run : runs) {
    target.replace(slice.offset + run.begin, slice.offset + run.end,
                   {run.value.expression, run.value.shift - static_cast<int64_t>(slice.offset)});
  }
}

Result<Contents::Value> Contents::combine_at(const std::vector<Runs>& sources,
                                             const std::vector<size_t>& at, const Step& step) {
  std::vector<uint32_t> operands;
  const int64_t shift = sources[0][at[0]].value.shift;
  for (size_t i = 0; i < sources.size(); ++i) {
    const Value& value = sources[i][at[i]].value;
    if (value.shift != shift) {
      return error(Code::kInvalidArgument,
                   "source {} has other elements of the inputs than source 0", i);
    }
    operands.push_back(value.expression);
  }
  RAILCCL_ASSIGN(const uint32_t expression, expressions_.combine(operands));
  const bool complete =
      expressions_.contributions(expression) == static_cast<uint32_t>(set_.shape.layout->ranks());
  if (complete != step.final) {
    return error(Code::kInvalidArgument, "it is {}marked final, but holds {}",
                 step.final ? "" : "not ", expressions_.describe(expression));
  }
  return Value{expression, shift};
}

Result<Contents::Runs> Contents::combine(const std::vector<Runs>& sources, const Step& step) {
  Runs result;
  std::vector<size_t> at(sources.size(), 0);
  for (uint64_t begin = 0; begin < step.count;) {
    uint64_t end = step.count;
    for (size_t i = 0; i < sources.size(); ++i) end = std::min(end, sources[i][at[i]].end);
    RAILCCL_ASSIGN(const Value value, combine_at(sources, at, step));
    if (!result.empty() && result.back().value == value) {
      result.back().end = end;
    } else {
      result.push_back({begin, end, value});
    }
    for (size_t i = 0; i < sources.size(); ++i) at[i] += sources[i][at[i]].end == end ? 1 : 0;
    begin = end;
  }
  return result;
}

Status Contents::apply(int rank, const Step& step) {
  const Schedule& schedule = set_.ranks[static_cast<size_t>(rank)];
  std::vector<Runs> read_runs;
  for (const Slice& slice : sources(schedule, step)) {
    RAILCCL_ASSIGN(Runs runs, read(owner_of(slice, rank), slice, step.count));
    read_runs.push_back(std::move(runs));
  }
  if (step.kind == StepKind::kReduce) {
    RAILCCL_ASSIGN(read_runs[0], combine(read_runs, step));
  }
  const int self = step.kind == StepKind::kPut ? step.peer : rank;
  for (const Slice& slice : destinations(schedule, step)) {
    write(owner_of(slice, self), slice, read_runs[0]);
  }
  return Status::ok();
}

Status Contents::check_outputs() {
  const Shape& shape = set_.shape;
  for (int rank = 0; rank < shape.layout->ranks(); ++rank) {
    const uint64_t blocks = user_blocks(shape, rank, BufferId::kOutput);
    const Slice output = canonical(shape, rank, {.buffer = BufferId::kOutput});
    const auto base = static_cast<int64_t>(output.offset);
    Status status;
    for (uint64_t block = 0; block < blocks; ++block) {
      const uint64_t begin = output.offset + block * shape.block;
      memory(rank, output.buffer)
          .visit(begin, begin + shape.piece, [&](uint64_t from, uint64_t to, Value& value) {
            if (!status) return;
            status = check_run(rank, from - output.offset, to - output.offset,
                               {value.expression, value.shift + base});
          });
    }
    RAILCCL_TRY(status);
  }
  return Status::ok();
}

// Elements begin..end of the output: expression over elements begin + shift.. of the inputs.
Status Contents::check_run(int rank, uint64_t begin, uint64_t end, const Value& value) {
  const Shape& shape = set_.shape;
  const auto me = static_cast<uint64_t>(rank);
  const uint64_t block = begin / shape.block;
  const uint64_t within = begin % shape.block;
  int from = shape.root;
  uint64_t source = begin;
  switch (shape.collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
      return check_reduced(rank, begin, end, value, begin);
    case Collective::kReduceScatter:
      return check_reduced(rank, begin, end, value, me * shape.block + begin);
    case Collective::kBroadcast:
      break;
    case Collective::kAllGather:
    case Collective::kGather:
      from = static_cast<int>(block);
      source = within;
      break;
    case Collective::kScatter:
      source = me * shape.block + begin;
      break;
    case Collective::kAllToAll:
      from = static_cast<int>(block);
      source = me * shape.block + within;
      break;
    case Collective::kSendRecv:
      return error(Code::kInvalidUsage, "SendRecv is not a schedule");
  }
  const bool right = value.expression == expressions_.leaf(from) &&
                     static_cast<int64_t>(begin) + value.shift == static_cast<int64_t>(source);
  if (right) return Status::ok();
  return error(Code::kInvalidArgument,
               "rank {} at the end: output elements {} to {} should be element {} on of rank {}, "
               "but hold {}, from element {} on",
               rank, begin, end, source, from, expressions_.describe(value.expression),
               static_cast<int64_t>(begin) + value.shift);
}

Status Contents::check_reduced(int rank, uint64_t begin, uint64_t end, const Value& value,
                               uint64_t source) {
  const auto ranks = static_cast<uint32_t>(set_.shape.layout->ranks());
  const bool defined = value.expression != Expressions::kUndefined;
  const bool complete = defined && expressions_.contributions(value.expression) == ranks;
  if (!complete || static_cast<int64_t>(begin) + value.shift != static_cast<int64_t>(source)) {
    return error(Code::kInvalidArgument,
                 "rank {} at the end: output elements {} to {} should be the reduction of all "
                 "ranks from element {} on, but hold {}, from element {} on",
                 rank, begin, end, source, expressions_.describe(value.expression),
                 static_cast<int64_t>(begin) + value.shift);
  }
  if (set_.shape.collective != Collective::kAllReduce) return Status::ok();
  Status status;
  agreed_.visit(begin, end, [&](uint64_t, uint64_t, uint32_t& agreed) {
    if (agreed == Expressions::kUndefined) agreed = value.expression;
    if (agreed == value.expression || !status) return;
    status = error(Code::kInvalidArgument,
                   "rank {} at the end: output elements {} to {} are combined in another order "
                   "than on rank 0, so their bits can differ",
                   rank, begin, end);
  });
  return status;
}

}  // namespace railccl::algorithms
