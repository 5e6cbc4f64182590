// A rank's connection to one root: finds the host, tries the ports that it may be on, again and
// again until the owner gives up, proves itself, joins, and takes what the root says.
//
// One thread at a time. progress() may wait for the system's resolver, nothing else blocks.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "src/base/clock.h"
#include "src/core/bootstrap_frames.h"
#include "src/core/dialer.h"
#include "src/core/poller.h"
#include "src/core/unique_id.h"

namespace railccl::boot {

class RootContact {
 public:
  // `who`: purpose, from, ranks. `poller` outlives the object.
  RootContact(const UniqueId& id, const Hello& who, int family, Poller& poller);
  ~RootContact();
  RootContact(const RootContact&) = delete;
  RootContact& operator=(const RootContact&) = delete;

  // An error: the root told of a failure, or ended. That nobody is there yet is no error.
  Status progress(TimeNs now);
  bool connected() const { return stream_.has_value(); }
  SocketAddress local_address() const;
  void join(const JoinRecord& record);
  // Once: the parent's address, when the root has told it.
  std::optional<SocketAddress> take_parent();
  void tell_met() { tell(RootFrame::kMet, {}); }
  void tell_failed(const Status& status) { tell(RootFrame::kFailed, pack_failed(status)); }
  TimeNs next_deadline() const;
  // Where it tried, and what came of it.
  std::string problem() const;

 private:
  void dial(TimeNs now);
  void find_candidates();
  void after_attempt(TimeNs now);
  Status receive();
  void tell(RootFrame type, std::span<const std::byte> payload);

  UniqueId id_;
  Key key_;
  Hello who_;
  int family_;
  Poller& poller_;
  std::deque<SocketAddress> untried_;  // of this round
  int rounds_ = 0;
  TimeNs began_ = 0;
  TimeNs retry_at_ = 0;
  std::unique_ptr<Dialer> dialer_;
  std::optional<FrameStream> stream_;
  std::optional<SocketAddress> parent_;
  std::string last_problem_;
};

}  // namespace railccl::boot
