// The verifier's record of who touched which memory, and whether touching it now is ordered after
// that. Pure; used by verifier.cc only.
#pragma once

#include <map>
#include <vector>

#include "algorithms/happens_before.h"
#include "algorithms/run_map.h"
#include "algorithms/verifier.h"

namespace railccl::algorithms {

// One step's use of memory. It is over when either moment is.
struct Access {
  Moment begin;         // the step itself; of a direct access also its end
  Moment end;           // a put: the matching wait
  Moment acknowledged;  // a put: the sender's next credit or end of lap
  uint32_t lap = 0;
  uint32_t step = 0;
};

class Accesses {
 public:
  Accesses(const ScheduleSet& set, const Clocks& clocks);

  // Another piece: other parts of the user's buffers, the same scratch.
  void next_lap();
  // The step may use the slice of `owner`'s memory now; it is recorded. Error: unordered with an
  // earlier use.
  Status read(const Access& access, int owner, const Slice& slice, uint64_t count);
  Status write(const Access& access, int owner, const Slice& slice, uint64_t count);
  // At the end of the operation of all ranks: all uses of others' memory are over.
  Status check_ends() const;

 private:
  struct Uses {
    bool written = false;
    Access writer;
    std::vector<Access> readers;  // since then
  };
  static constexpr size_t kBuffers = 3;

  RunMap<Uses>* memory(int owner, const Slice& slice);
  void remember_owner(const Access& access, int owner);
  bool over(const Access& earlier, int rank) const {
    return clocks_.knows(rank, earlier.end) || clocks_.knows(rank, earlier.acknowledged);
  }
  Status unordered(const Access& access, const Access& earlier, bool write, int owner,
                   const Slice& slice) const;

  const ScheduleSet& set_;
  const Clocks& clocks_;
  std::vector<RunMap<Uses>> memories_;
  // By owner, by rank: the last direct use.
  std::vector<std::map<int, Access>> by_others_;
};

}  // namespace railccl::algorithms
