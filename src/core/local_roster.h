// Who is there: the start of a local domain. Every rank writes into the segment who it is; when all
// have, each tries what it can do with every other and votes; when all have voted, the domain is
// settled and everyone knows the same.
//
// Threading: one thread at a time; nothing blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/base/status.h"
#include "src/core/local_cores.h"
#include "src/core/local_domain.h"
#include "src/core/local_segment.h"

namespace railccl {

class LocalRoster {
 public:
  // Announces this rank. `ranks`: the communicator's numbers of the node's ranks, for messages.
  LocalRoster(std::shared_ptr<LocalSegment> segment, int self, std::vector<int> ranks);
  ~LocalRoster();
  LocalRoster(const LocalRoster&) = delete;
  LocalRoster& operator=(const LocalRoster&) = delete;

  // As LocalDomain.
  Result<bool> settle();
  bool can_attach() const { return can_attach_; }
  int cores() const { return cores_; }

 private:
  bool all_at(uint32_t stage) const;
  Status vote();
  Status check_peer(int index) const;
  bool try_attach(int index) const;
  Status count_votes();

  std::shared_ptr<LocalSegment> segment_;
  int self_;
  std::vector<int> ranks_;
  std::unique_ptr<uint64_t> probe_;  // in private memory, for the others to read
  bool voted_ = false;
  bool settled_ = false;
  bool can_attach_ = false;
  int cores_ = 1;
};

}  // namespace railccl
