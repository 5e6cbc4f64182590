// A schedule that the user gives as a file (RAILCCL_SCHEDULE_FILE, format in docs/algorithms.md):
// read and verified when the library starts, and verified again for each size for which it is used.
// Used for every call of its collective and root on a communicator whose ranks lie on nodes as in
// the file, when the call has a whole number of its pieces. Immutable; any thread.
#pragma once

#include <memory>
#include <string>

#include "algorithms/verifier.h"
#include "src/base/status.h"

namespace railccl {

class UserSchedule {
 public:
  // The error names the file, the place in it and what is wrong there.
  static Result<std::shared_ptr<const UserSchedule>> read(const std::string& path);

  // Empty when calls of this shape (`piece` and `in_place` do not count) are run by it; else why
  // not. The same on all ranks.
  std::string unsuitable(const Shape& shape, size_t element_bytes, uint64_t slot_bytes) const;
  // An error when it was made for calls in place and this one is not, or the other way round.
  Status check_in_place(const Shape& shape) const;

  // As the tuner sees it: a name, and no generator.
  const Algorithm& algorithm() const { return algorithm_; }
  const Cost& cost() const { return cost_; }
  uint64_t piece() const { return set_.shape.piece; }
  const Schedule& of_rank(int rank) const { return set_.ranks[static_cast<size_t>(rank)]; }
  const std::string& path() const { return path_; }
  uint64_t hash() const { return hash_; }  // of the file; ranks must have the same

 private:
  UserSchedule() = default;
  // The file's schedules for a call of `block` elements.
  ScheduleSet for_block(uint64_t block, bool in_place) const;

  std::string path_;
  ScheduleSet set_;
  Algorithm algorithm_{};
  Cost cost_;
  uint64_t scratch_ = 0;  // elements, of the rank that needs most
  uint64_t hash_ = 0;
};

}  // namespace railccl
