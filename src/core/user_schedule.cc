#include "src/core/user_schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "algorithms/schedule_file.h"

namespace railccl {
namespace {

// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
uint64_t hash_of(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return value;
}

Result<std::string> text_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) return system_error(errno, fmt::format("cannot read the schedule file {}", path));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool has_root(Collective collective) {
  return collective == Collective::kBroadcast || collective == Collective::kReduce ||
         collective == Collective::kGather || collective == Collective::kScatter;
}

}  // namespace

Result<std::shared_ptr<const UserSchedule>> UserSchedule::read(const std::string& path) {
  RAILCCL_ASSIGN(const std::string text, text_of(path));
  auto set = read_schedules(text);
  if (!set) return Error(set.error().with_context(fmt::format("schedule file {}", path)));
  if (set->shape.piece == 0) {
    return error(Code::kInvalidUsage, "schedule file {}: piece is 0: it moves no data", path);
  }
  RAILCCL_ASSIGN(const ScheduleCounts counts, verify(*set));
  std::shared_ptr<UserSchedule> made(new UserSchedule);
  made->path_ = path;
  made->hash_ = hash_of(text);
  made->cost_ = cost_of({counts}, set->shape.piece);
  made->algorithm_ = {.name = "file",
                      .collective = set->shape.collective,
                      .unsuitable = nullptr,
                      .generate = nullptr,
                      .cost = nullptr,
                      .channels = 1};
  for (const Schedule& schedule : set->ranks) {
    made->scratch_ = std::max(made->scratch_, schedule.scratch_elements);
  }
  made->set_ = std::move(*set);
  return std::shared_ptr<const UserSchedule>(std::move(made));
}

ScheduleSet UserSchedule::for_block(uint64_t block, bool in_place) const {
  ScheduleSet set = set_;
  set.shape.block = block;
  set.shape.in_place = in_place;
  return set;
}

std::string UserSchedule::unsuitable(const Shape& shape, size_t element_bytes,
                                     uint64_t slot_bytes) const {
  const Shape& mine = set_.shape;
  if (shape.collective != mine.collective) {
    return fmt::format("it is for {}", collective_name(mine.collective));
  }
  if (shape.layout->node_of != mine.layout->node_of) {
    return fmt::format("it is for ranks on the nodes [{}]", fmt::join(mine.layout->node_of, ", "));
  }
  if (has_root(shape.collective) && shape.root != mine.root) {
    return fmt::format("it is for root {}", mine.root);
  }
  if (mine.direct && !shape.direct) return "ranks of a node do not reach each other's buffers here";
  if (shape.block % mine.piece != 0) {
    return fmt::format("{} elements are no whole number of its pieces of {}", shape.block,
                       mine.piece);
  }
  if (scratch_ * element_bytes > slot_bytes) {
    return fmt::format("it needs {} bytes of scratch per piece and there are {} (RAILCCL_BUFFSIZE)",
                       scratch_ * element_bytes, slot_bytes);
  }
  if (shape.block == mine.block) return {};
  const auto proof = verify(for_block(shape.block, mine.in_place));
  return proof ? std::string()
               : fmt::format("for {} elements {}", shape.block, proof.error().message());
}

Status UserSchedule::check_in_place(const Shape& shape) const {
  if (shape.in_place == set_.shape.in_place) return Status::ok();
  const auto proof = verify(for_block(shape.block, shape.in_place));
  if (proof) return Status::ok();
  return error(Code::kInvalidUsage,
               "the schedule of RAILCCL_SCHEDULE_FILE {} is right only for calls that are {} ({}); "
               "call it so, or take the setting away",
               path_, set_.shape.in_place ? "in place" : "not in place", proof.error().message());
}

}  // namespace railccl
