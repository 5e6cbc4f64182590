// Which ranks of a node may be reading or writing other ranks' memory just now. Who has ended a
// communicator waits for all others to be out before it returns its buffers to the caller: a copy
// into memory that is used for something else would destroy that.
//
//   a rank that begins an operation       one that has ended the communicator
//   P1  inside = 1                        E1  raises the abort flag, or sees it raised
//   P2  full fence                        E2  full fence
//   P3  looks at the flag, and reaches    E3  looks at `inside` until it is 0
//       out only where it is 0
//
// One of the fences comes first: either E3 sees P1 and waits, or P3 sees the flag. P3 is repeated
// before every further step, so a rank is out soon after the flag is up.
//
// Threading: one thread at a time; others_inside() and forget() any thread.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "src/core/local_segment.h"

namespace railccl {

class LocalPresence {
 public:
  LocalPresence(std::shared_ptr<LocalSegment> segment, int self);

  // As LocalDomain.
  void enter();
  void leave();
  void withdraw();
  std::vector<int> others_inside() const;
  void forget(int index) { gone_[static_cast<size_t>(index)].store(true); }

 private:
  void show(bool inside);

  std::shared_ptr<LocalSegment> segment_;
  int self_;
  int depth_ = 0;
  bool withdrawn_ = false;
  std::vector<std::atomic<bool>> gone_;  // by rank: its process has ended
};

}  // namespace railccl
