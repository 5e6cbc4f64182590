#include "algorithms/verify_structure.h"

#include <map>
#include <tuple>

#include "algorithms/buffers.h"

namespace railccl::algorithms {
namespace {

constexpr std::string_view kBufferNames[] = {"input", "output", "scratch"};

std::string_view name_of(BufferId buffer) { return kBufferNames[static_cast<size_t>(buffer)]; }

class StructureCheck {
 public:
  StructureCheck(const ScheduleSet& set, int rank)
      : set_(set), rank_(rank), schedule_(set.ranks[static_cast<size_t>(rank)]) {}

  Status run() const {
    for (size_t i = 0; i < schedule_.steps.size(); ++i) {
      if (const Status status = check(schedule_.steps[i]); !status) {
        return status.with_context(fmt::format("rank {} step {}", rank_, i));
      }
    }
    return Status::ok();
  }

 private:
  Status check(const Step& step) const {
    const uint64_t last = uint64_t{step.first_slice} + step.num_dsts + step.num_srcs;
    if (last > schedule_.slices.size()) {
      return error(Code::kInvalidArgument, "it names slice {} of {}", last,
                   schedule_.slices.size());
    }
    if (!is_data(step)) return check_notification(step);
    if (step.previous_lap) {
      return error(Code::kInvalidArgument, "only a signal or a wait can cross laps");
    }
    if (step.count == 0) return error(Code::kInvalidArgument, "it moves no elements");
    RAILCCL_TRY(check_slice_counts(step));
    if (step.kind == StepKind::kPut) return check_put(step);
    if (step.kind == StepKind::kReduce && !is_reduction(set_.shape.collective)) {
      return error(Code::kInvalidArgument, "a reduce in {}",
                   collective_name(set_.shape.collective));
    }
    for (const Slice& slice : destinations(schedule_, step)) {
      RAILCCL_TRY(check_writable(slice));
      RAILCCL_TRY(check_owner(slice));
      RAILCCL_TRY(check_bounds(slice, owner_of(slice), step.count));
    }
    for (const Slice& slice : sources(schedule_, step)) {
      RAILCCL_TRY(check_owner(slice));
      RAILCCL_TRY(check_bounds(slice, owner_of(slice), step.count));
    }
    return check_overlap(step);
  }

  Status check_peer(const Step& step) const {
    if (step.peer < 0 || step.peer >= set_.shape.layout->ranks() || step.peer == rank_) {
      return error(Code::kInvalidArgument, "its peer is {}", step.peer);
    }
    if (step.tag >= kMaxTags) {
      return error(Code::kInvalidArgument, "its tag is {}, tags are below {}", step.tag, kMaxTags);
    }
    return Status::ok();
  }

  Status check_notification(const Step& step) const {
    if (step.count != 0 || step.num_dsts != 0 || step.num_srcs != 0) {
      return error(Code::kInvalidArgument, "a signal or wait with data");
    }
    if (step.final) return error(Code::kInvalidArgument, "only a reduce can be final");
    return check_peer(step);
  }

  Status check_slice_counts(const Step& step) const {
    const bool reduce = step.kind == StepKind::kReduce;
    if (step.final && !reduce) return error(Code::kInvalidArgument, "only a reduce can be final");
    const bool sources_right = reduce ? step.num_srcs >= 2 : step.num_srcs == 1;
    const bool destinations_right =
        step.kind == StepKind::kPut ? step.num_dsts == 1 : step.num_dsts >= 1;
    if (sources_right && destinations_right) return Status::ok();
    return error(Code::kInvalidArgument, "it has {} destinations and {} sources", step.num_dsts,
                 step.num_srcs);
  }

  Status check_put(const Step& step) const {
    RAILCCL_TRY(check_peer(step));
    const Slice& dst = destinations(schedule_, step)[0];
    const Slice& src = sources(schedule_, step)[0];
    if (dst.owner != kSelf || src.owner != kSelf) {
      return error(Code::kInvalidArgument, "a put is from own memory to the peer's own memory");
    }
    RAILCCL_TRY(check_writable(dst));
    const bool local = set_.shape.layout->same_node(step.peer, rank_);
    if (local && !set_.shape.direct && dst.buffer != BufferId::kScratch) {
      return error(Code::kInvalidArgument, "only the scratch of local peers can be reached");
    }
    RAILCCL_TRY(check_bounds(src, rank_, step.count));
    return check_bounds(dst, step.peer, step.count);
  }

  Status check_writable(const Slice& slice) const {
    if (slice.buffer != BufferId::kInput) return Status::ok();
    return error(Code::kInvalidArgument, "it writes the input");
  }

  Status check_owner(const Slice& slice) const {
    if (slice.owner == kSelf) return Status::ok();
    const Layout& layout = *set_.shape.layout;
    if (slice.owner < 0 || slice.owner >= layout.ranks() || slice.owner == rank_ ||
        !layout.same_node(slice.owner, rank_)) {
      return error(Code::kInvalidArgument, "rank {} is no local peer", slice.owner);
    }
    if (!set_.shape.direct && slice.buffer != BufferId::kScratch) {
      return error(Code::kInvalidArgument, "only the scratch of local peers can be reached");
    }
    return Status::ok();
  }

  Status check_bounds(const Slice& slice, int owner, uint64_t count) const {
    const Shape& shape = set_.shape;
    uint64_t size = 0;
    bool inside = false;
    if (slice.buffer == BufferId::kScratch) {
      size = set_.ranks[static_cast<size_t>(owner)].scratch_elements;
      inside = slice.offset <= size && count <= size - slice.offset;
    } else {
      size = user_blocks(shape, owner, slice.buffer) * shape.block;
      inside = slice.offset < size && count <= size - slice.offset;
      if (shape.piece != shape.block) {
        const uint64_t within = slice.offset % shape.block;
        inside = inside && within < shape.piece && count <= shape.piece - within;
      }
    }
    if (inside) return Status::ok();
    return error(Code::kInvalidArgument,
                 "elements {} to {} are outside the piece's part of {} of rank {} ({} elements)",
                 slice.offset, slice.offset + count, name_of(slice.buffer), owner, size);
  }

  // Sources may be the same, and a destination may be a source. The slices of a step are equally
  // long, so if any overlap otherwise, then two neighbours in order of offset do.
  Status check_overlap(const Step& step) const {
    std::map<std::tuple<int, BufferId, uint64_t>, int> destinations_at;
    const auto place_of = [&](const Slice& slice) {
      const Slice place = canonical(set_.shape, owner_of(slice), slice);
      return std::tuple{owner_of(slice), place.buffer, place.offset};
    };
    for (const Slice& slice : sources(schedule_, step)) destinations_at[place_of(slice)];
    for (const Slice& slice : destinations(schedule_, step)) ++destinations_at[place_of(slice)];
    const std::tuple<int, BufferId, uint64_t>* before = nullptr;
    bool before_written = false;
    for (const auto& [place, count] : destinations_at) {
      const auto& [owner, buffer, offset] = place;
      const bool overlaps = before != nullptr && std::get<0>(*before) == owner &&
                            std::get<1>(*before) == buffer &&
                            offset - std::get<2>(*before) < step.count;
      if (count > 1 || (overlaps && (count > 0 || before_written))) {
        return error(Code::kInvalidArgument, "a destination overlaps another slice of the step");
      }
      before = &place;
      before_written = count > 0;
    }
    return Status::ok();
  }

  int owner_of(const Slice& slice) const { return slice.owner == kSelf ? rank_ : slice.owner; }

  const ScheduleSet& set_;
  int rank_;
  const Schedule& schedule_;
};

}  // namespace

Status verify_structure(const ScheduleSet& set) {
  const int ranks = set.shape.layout ? set.shape.layout->ranks() : 0;
  if (ranks == 0 || set.ranks.size() != static_cast<size_t>(ranks)) {
    return error(Code::kInvalidArgument, "{} schedules for {} ranks", set.ranks.size(), ranks);
  }
  if (set.shape.root < 0 || set.shape.root >= ranks) {
    return error(Code::kInvalidArgument, "root {} of {} ranks", set.shape.root, ranks);
  }
  if (set.shape.piece > set.shape.block) {
    return error(Code::kInvalidArgument, "a piece of {} elements of a block of {}", set.shape.piece,
                 set.shape.block);
  }
  for (int rank = 0; rank < ranks; ++rank) {
    RAILCCL_TRY(StructureCheck(set, rank).run());
  }
  return Status::ok();
}

}  // namespace railccl::algorithms
