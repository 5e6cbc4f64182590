// The root of one unique id: where ranks meet. It tells each rank where its parent in the tree
// listens, as soon as both have come; names the ranks that do not come; passes a failure of one on
// to all. Then it ends. Its memory is bounded by the ranks of the id plus the door's guests.
//
// Threading: start_root gives it a thread of its own, which blocks all signals, is detached and
// never delays the exit of the process. step() is for tests and that thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/clock.h"
#include "src/base/unique_fd.h"
#include "src/core/bootstrap_frames.h"
#include "src/core/doorkeeper.h"
#include "src/core/poller.h"
#include "src/core/rank_tree.h"

namespace railccl::boot {

struct RootOptions {
  Key key{};
  std::string address;  // for messages
  // The next meeting may be at the same address: it is free as soon as all are here. Else it stays
  // open until they are through, for ranks that come there by mistake.
  bool address_is_reused = false;
  TimeNs rank_timeout_ns = 60 * kSecond;
  DoorLimits door;
};

class RootServer final : private Host {
 public:
  static Result<std::unique_ptr<RootServer>> create(const RootOptions& options, UniqueFd listener);
  ~RootServer() override;

  // Waits for at most `wait_ms` for something to happen and does it; false when the root is done.
  bool step(const Clock& clock, int wait_ms);
  TimeNs next_deadline() const;

 private:
  struct Guest {  // someone who knows the key
    FrameStream stream;
    uint32_t rank = 0;   // claimed
    uint32_t ranks = 0;  // claimed
    bool joined = false;
    bool met = false;
    JoinRecord record;
  };
  enum class State : uint8_t { kMeeting, kAllHere, kFailed, kDone };

  RootServer(const RootOptions& options, Poller poller);
  Verdict on_proven(const Hello& hello) override;
  void on_admitted(const Hello& hello, FrameStream stream, TimeNs now) override;

  void receive(int fd);
  Status handle_frame(Guest& guest, const Frame& frame);
  Status join(Guest& guest, const JoinRecord& record);
  Status check_shape(const Guest& guest, const JoinRecord& record);
  void introduce(int rank);
  void tell(Guest& guest, RootFrame type, std::span<const std::byte> payload);
  void remove(int fd);
  void fail(const Status& status);  // found here
  void end_meeting(const Status& status);
  void check_times();
  std::string missing() const;
  std::string describe(const Guest& guest) const;

  RootOptions options_;
  Poller poller_;
  std::unique_ptr<Doorkeeper> door_;
  State state_ = State::kMeeting;
  std::unordered_map<int, Guest> guests_;  // by descriptor
  std::unordered_map<int, int> by_rank_;   // descriptors
  std::optional<RankTree> tree_;           // as the first rank described it
  int root_ = 0;
  size_t expected_ = 0;
  size_t met_ = 0;
  Status failure_;
  TimeNs now_ = 0;
  TimeNs first_came_ = 0;
  TimeNs deadline_ = kNever;
};

// Serves in the background until all ranks have met.
Status start_root(const RootOptions& options, UniqueFd listener);

}  // namespace railccl::boot
