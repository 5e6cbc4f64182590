// Fuzz target: schedules that a user gives as a file.
#include <algorithm>

#include "algorithms/schedule_file.h"
#include "tests/fuzz/target.h"

namespace railccl::fuzz {
namespace {

constexpr uint64_t kMostElements = 1 << 12;
constexpr size_t kMostSteps = 64;

// Proving a set of a million elements takes its time, and is not what is tested here.
bool is_small(const ScheduleSet& set) {
  const auto small = [](const Schedule& schedule) {
    return schedule.steps.size() <= kMostSteps && schedule.scratch_elements <= kMostElements;
  };
  return set.shape.block <= kMostElements && set.ranks.size() <= 8 &&
         std::ranges::all_of(set.ranks, small);
}

}  // namespace

void schedule_file(Bytes input) {
  const auto set = parse_schedules(as_text(input));
  if (!set) {
    require(!set.error().message().empty(), "an error without a text");
    return;
  }
  const std::string text = write_schedules(*set);
  const auto again = parse_schedules(text);
  require(again.has_value() && write_schedules(*again) == text, "schedules do not come back");
  if (is_small(*set)) (void)read_schedules(text).has_value();
}

}  // namespace railccl::fuzz
