// How all ranks of a communicator change to a new rail picture at the same operation. Pure: says
// what to send to whom along a tree; docs/failover.md has the proof.
//
//   a rank        kReport(view) up the tree, when what it sees has changed
//   the root      kPropose(v) down, when the reports differ from its last picture, not too often
//   every rank    promises, at the proposal, to begin no operation from n + kAhead on before the
//                 commit, n being the last one it has begun; kPromise(v, max n of its subtree) up
//   the root      kCommit(v, N = max n + kAhead, picture) down
//   every rank    uses version v from operation N on, which nobody can have begun
//   a rank that   kLeave up; the root ends a round that is under way, then kEnd down: there are no
//   finalizes     more versions, and nobody needs it any more
//
// Messages are reliable and in order per pair (the control path's word); a rank that is lost ends
// the communicator. Idempotent: what is old or already known changes nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/core/rail_picture.h"

namespace railccl {

struct RailAgreementOptions {
  int rank = 0;
  int ranks = 1;
  int parent = -1;  // -1: the root
  std::vector<int> children;
  TimeNs pause_ns = 300 * kMillisecond;  // between two versions
};

class RailAgreement {
 public:
  // Operations that a rank may begin between its promise and the commit are fewer than this. More
  // would shorten the pause of small operations and put off the change of large ones.
  static constexpr uint64_t kAhead = 2;
  using Send = std::function<void(int to, std::span<const std::byte> message)>;

  explicit RailAgreement(const RailAgreementOptions& options);

  // What this rank sees has changed.
  void report(const RailView& view);
  // This rank begins no further operation. ended(): it may go.
  void leave();
  bool ended() const { return ended_ && outgoing_.empty(); }

  // An error: the message is malformed, or not of a neighbour.
  Status accept(int from, std::span<const std::byte> message);
  // Gives to `send` what is due; true when there was anything.
  bool step(TimeNs now, const Send& send);
  TimeNs next_deadline() const;

  // Whether operation `number` (from 1, one after the other) may begin.
  bool may_begin(uint64_t number) const { return number < hold_from_; }
  // It begins; true: with a new picture.
  bool begin(uint64_t number) {
    begun_ = number;
    return number >= next_from_ && adopt(number);
  }
  // In force for the operation that was begun last.
  const RailPicture& picture() const { return picture_; }
  // "waits for the ranks below rank 8", while may_begin() says no.
  std::string describe() const;

 private:
  enum class Kind : uint32_t { kReport = 1, kPropose, kPromise, kCommit, kLeave, kEnd };
  using Reports = std::map<int, RailView>;

  bool is_root() const { return options_.parent < 0; }
  bool is_child(int rank) const;
  bool adopt(uint64_t number);
  void take_report(int rank, const RailView& view);
  void take_proposal(uint64_t version);
  void take_promise(int child, uint64_t version, uint64_t begun);
  void take_commit(RailPicture picture);
  void take_leave();
  void take_end();
  void propose();
  void conclude_promises();
  void commit();
  Status accept_from_parent(Kind kind, wire::ByteReader& reader);
  Status accept_from_child(int child, Kind kind, wire::ByteReader& reader);
  void tell_children(const std::vector<std::byte>& message);
  void tell_parent(std::vector<std::byte> message);

  RailAgreementOptions options_;
  RailPicture picture_;
  std::deque<RailPicture> agreed_;     // committed, not in force yet
  uint64_t next_from_ = ~uint64_t{0};  // agreed_.front()
  uint64_t hold_from_ = ~uint64_t{0};
  uint64_t begun_ = 0;
  uint64_t version_ = 0;            // the last that was proposed here
  bool collecting_ = false;         // it is not committed
  uint64_t promised_ = 0;           // the largest of this rank's subtree so far
  std::set<int> promises_missing_;  // children
  bool leaving_ = false;
  bool end_wanted_ = false;
  bool ended_ = false;
  // The root's.
  Reports reports_;    // of ranks that are not whole
  Reports committed_;  // of the last version
  TimeNs next_proposal_ = 0;
  TimeNs now_ = 0;
  std::deque<std::pair<int, std::vector<std::byte>>> outgoing_;
};

}  // namespace railccl
