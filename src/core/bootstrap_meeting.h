// How one rank meets the others: contact to its roots, a listener of its own, the connection to its
// parent, the gathering of all places over the tree. Blocks its caller, with deadline and abort.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "src/base/clock.h"
#include "src/core/bootstrap.h"
#include "src/core/bootstrap_contact.h"
#include "src/core/control_path_tree.h"
#include "src/core/poller.h"
#include "src/core/rank_tree.h"
#include "src/core/unique_id.h"

namespace railccl::boot {

class Meeting {
 public:
  // `options` and `abort` outlive the object.
  static Result<std::unique_ptr<Meeting>> create(std::vector<UniqueId> ids,
                                                 const BootstrapOptions& options,
                                                 std::span<const std::byte> info,
                                                 const std::atomic<bool>& abort);
  Result<std::unique_ptr<ControlPath>> run();

 private:
  struct Contact {
    int root = 0;
    std::unique_ptr<RootContact> link;
    bool joined = false;
  };

  Meeting(std::vector<UniqueId> ids, const BootstrapOptions& options,
          std::span<const std::byte> info, const std::atomic<bool>& abort, Poller poller);

  // True when all have met.
  Result<bool> step(TimeNs now);
  Status open_path(TimeNs now);
  Result<SocketAddress> listen_address() const;
  void join_all();
  Status check_times(TimeNs now) const;
  void wait(TimeNs now);
  Status path_problem(TimeNs now);
  void reach_all_roots();
  Status give_up(const Status& status);

  std::vector<UniqueId> ids_;
  const BootstrapOptions& options_;
  std::vector<std::byte> info_;
  const std::atomic<bool>& abort_;
  RankTree tree_;
  Poller poller_;
  std::vector<Contact> contacts_;
  SocketAddress address_;  // of this rank's listener
  std::string host_;
  std::unique_ptr<TreeControlPath> path_;
  TimeNs began_ = 0;
  TimeNs problem_at_ = 0;  // a rank was lost; 0: none
};

}  // namespace railccl::boot
