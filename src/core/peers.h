// The other ranks as the core sees them: a link to each one that is needed, made on first use over
// the control path; what has arrived from each (inbox); flow control of small data; local
// notifications.
//
// Threading: the driver of the communicator. Errors that end the communicator go to the observer,
// once.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/core/credit_window.h"
#include "src/core/inbox.h"
#include "src/core/message.h"
#include "src/core/node_info.h"
#include "src/core/rail_host.h"
#include "src/core/rail_plan.h"
#include "transport/link.h"

namespace railccl {

class PeersObserver {
 public:
  virtual ~PeersObserver() = default;
  virtual void on_peers_failed(const Status& status) = 0;
  virtual void on_put_done(uint64_t token, const Status& status) = 0;
  // Small data of a peer; false: not for now, keep it.
  virtual bool on_small_data(int peer, const MessageHeader& header,
                             std::span<const std::byte> body) = 0;
  // For the Peers object of `peer`, over the control path.
  virtual void send_to_peers(int peer, std::span<const std::byte> bytes) = 0;
};

struct PeersOptions {
  int rank = 0;
  LinkOptions link;  // pairs, self and peer are filled in per link
  CrossRail cross = CrossRail::kAligned;
  static constexpr uint64_t kCreditBytes = 262144;
  uint64_t credit_bytes = kCreditBytes;  // small data that a sender may have unconsumed at one peer
};
static_assert(CreditWindow::fits(PeersOptions::kCreditBytes, kMaxMessageBytes));

class Peers final : private LinkSink {
 public:
  // `host`, `scratch`, `inboxes` and `observer` outlive the object; `nodes` and `inboxes` by
  // rank.
  Peers(const PeersOptions& options, RailHost& host, std::vector<NodeInfo> nodes,
        const RegisteredBuffer* scratch, std::vector<Inbox>& inboxes, PeersObserver& observer);
  ~Peers() override;

  // Starts the link to `peer` if there is none; an error when the two have no rail in common.
  Status ensure(int peer, TimeNs now);
  bool connected(int peer) const;
  // Valid once connected.
  const RemoteBuffer& remote_scratch(int peer) const;

  Status put(int peer, const LinkPut& put, TimeNs now);
  // False: not connected yet, or no room; try again after progress. `data` counts against the
  // credit.
  Result<bool> send(int peer, const MessageHeader& header, std::span<const std::byte> body,
                    TimeNs now);

  // The switch of this rank's rail (Link::set_rail): of all links, present and future.
  void set_rail(int local_rail, bool on, TimeNs now);

  // Small data that was kept by on_small_data's refusal has now been used.
  void consumed(int peer, size_t bytes);

  Status on_control_message(int peer, std::span<const std::byte> bytes, TimeNs now);
  bool progress(TimeNs now);
  TimeNs next_deadline() const;

  // All that was put and sent is with the peers.
  bool idle() const;
  void close(const Status& reason, TimeNs now);
  bool closed() const;

  std::vector<int> linked() const;  // peers to whom there is a link

  struct RailReport {
    int peer = 0;
    int local_rail = 0;
    LinkRailStats stats;
  };
  std::vector<RailReport> rail_reports() const;

 private:
  struct PeerLink;

  Inbox& inbox(int peer) { return inboxes_[static_cast<size_t>(peer)]; }
  PeerLink* find(int peer) const { return links_[static_cast<size_t>(peer)].get(); }
  Status begin(int peer, TimeNs now);
  Status connect(PeerLink& peer_link, std::span<const std::byte> offer, TimeNs now);
  bool report_consumption(PeerLink& peer_link, TimeNs now);
  Status accept_message(int peer, const Message& message);

  void on_connected(int peer) override;
  void on_put_done(int peer, uint64_t token, const Status& status) override;
  void on_notification(int peer, uint64_t tag) override;
  void on_message(int peer, std::span<const std::byte> bytes) override;
  void on_failed(int peer, const Status& status) override;
  void send_on_control_path(int peer, std::span<const std::byte> bytes) override;

  PeersOptions options_;
  RailHost& host_;
  std::vector<NodeInfo> nodes_;
  const RegisteredBuffer* scratch_;
  PeersObserver& observer_;
  std::vector<std::unique_ptr<PeerLink>> links_;  // by rank; null: not needed so far
  std::vector<PeerLink*> active_;
  std::vector<Inbox>& inboxes_;
  std::set<int> rails_off_;
  bool closing_ = false;
};

}  // namespace railccl
