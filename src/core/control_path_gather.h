// The all-gathers of a control path: each rank's blob goes up the tree, the whole table comes down.
// It goes on when ranks are lost: who gets a new parent sends it what it has, and the root decides
// with what it has of those who are gone; a table that is complete anywhere is passed on and never
// made anew, so all ranks that are left get the same one. Pure: says what to send to whom.
//
// Per rank and gather: one message to the parent and one to each child, cut into frames.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "src/base/status.h"
#include "src/core/control_path_membership.h"

namespace railccl::boot {

enum class GatherFrame : uint8_t {
  kContribution = 1,  // blobs of the sender's subtree
  kTable = 2,         // all blobs
};

class GatherBook {
 public:
  using Blobs = std::vector<std::vector<std::byte>>;
  // Payloads of at most kMaxFrameBytes.
  using Send = std::function<void(int to, std::span<const std::byte> payload)>;
  using IsUp = std::function<bool(int peer)>;

  GatherBook(int self, int ranks) : self_(self), ranks_(ranks) {}

  Status begin(uint64_t sequence, std::span<const std::byte> mine);
  const Blobs* poll(uint64_t sequence) const;
  void forget(uint64_t sequence) { gathers_.erase(sequence); }
  // A frame of `from`; an error: it is malformed.
  Status accept(int from, std::span<const std::byte> payload);
  // Gives to `send` what is due to neighbours whose connection is up.
  void advance(const Membership& members, const IsUp& is_up, const Send& send);

  static constexpr size_t kMaxOpen = 8;      // gathers that are not complete
  static constexpr size_t kMaxComplete = 4;  // kept, for ranks that get a new parent

 private:
  struct Gather {
    bool begun = false;
    bool complete = false;
    std::vector<std::optional<std::vector<std::byte>>> blobs;  // by rank
    Blobs table;
    int table_from = -1;  // whose table is arriving in `arriving`
    std::vector<std::optional<std::vector<std::byte>>> arriving;
    int contributed_to = -1;   // the parent that has what this rank has
    std::set<int> have_table;  // neighbours
  };

  Result<Gather*> find_or_open(uint64_t sequence);
  void drop_old();
  void advance_one(uint64_t sequence, Gather& gather, const Membership& members, const IsUp& is_up,
                   const Send& send);
  void conclude(Gather& gather);

  int self_;
  int ranks_;
  std::map<uint64_t, Gather> gathers_;
};

}  // namespace railccl::boot
