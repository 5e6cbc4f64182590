// The link (transport/link.h): puts its parts together, routes events and notes to them, sends
// acknowledgements, and ends the link when no rail is left. What it is made of:
//   LinkPair      one rail: endpoint, health, measurements
//   LinkSender    puts: chunks, striping, replay          ReplayRecord  what has arrived
//   LinkMessages  small messages, both directions         LinkFailover  failing and coming back
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/link.h"
#include "transport/link_failover.h"
#include "transport/link_messages.h"
#include "transport/link_pair.h"
#include "transport/link_sender.h"
#include "transport/replay_record.h"

namespace railccl {

class LinkImpl final : public Link, private FailoverOut, private LinkReceipts {
 public:
  LinkImpl(const LinkOptions& options, LinkSink& sink) : options_(options), sink_(sink) {}
  ~LinkImpl() override = default;
  Status init(std::span<Rail* const> rails, uint64_t endpoint_tag_base);

  std::vector<std::byte> address() const override;
  Status connect(std::span<const std::byte> peer_address, TimeNs now) override;
  bool connected() const override { return connected_; }
  Status put(const LinkPut& put, TimeNs now) override;
  Status send(std::span<const std::byte> header, std::span<const std::byte> body,
              TimeNs now) override;
  void on_rail_event(int pair, const RailEvent& event, TimeNs now) override;
  void on_port_event(int local_rail, const RailEvent& event, TimeNs now) override;
  void set_rail(int local_rail, bool on, TimeNs now) override;
  Status on_control_path(std::span<const std::byte> bytes, TimeNs now) override;
  bool progress(TimeNs now) override;
  TimeNs next_deadline() const override;
  bool idle() const override;
  void close(const Status& reason, TimeNs now) override;
  bool closed() const override;
  std::vector<LinkRailStats> stats() const override;

 private:
  // FailoverOut
  void send_frame(const wire::Frame& frame, TimeNs now) override;
  void send_on_control_path_only(const wire::Frame& frame) override;
  void send_note(const wire::FencedNote& fenced, TimeNs now) override;
  void send_note(const wire::PairEpoch& down, TimeNs now) override;
  void acknowledge_again() override {
    ack_due_ = true;
    stir_health();
  }
  // LinkReceipts
  wire::AckNote acknowledgement() const override;
  void on_carried(const wire::AckNote& ack) override;

  Status open_pairs(std::span<Rail* const> rails, uint64_t endpoint_tag_base);
  void on_put_done(LinkPair& pair, const RailEvent& event, TimeNs now);
  void on_note(LinkPair& pair, const RailEvent& event, TimeNs now);
  Status on_chunk(LinkPair& pair, const wire::NoteHeader& header, const RailEvent& event);
  bool is_damaged(const wire::NoteHeader& header, const wire::ChunkNote& chunk,
                  const RailEvent& event) const;
  void on_damaged(LinkPair& pair, std::string_view what);
  // Something urgent has come on this pair. One side leads, the other one follows.
  void follow(const LinkPair& pair);
  Status on_message(LinkPair& pair, const wire::NoteHeader& header, const RailEvent& event,
                    TimeNs now);
  Status on_ack(const wire::AckNote& ack, TimeNs now);
  void on_probe(LinkPair& pair, const wire::NoteHeader& header, TimeNs now);
  Status on_frame(const wire::Frame& frame, TimeNs now);
  Status check_pair(const wire::PairEpoch& rail) const;
  void on_goodbye();

  // Something has happened: progress() has something to do.
  void stir() { awake_ = true; }
  // Something that concerns the state of a rail.
  void stir_health() { awake_ = health_due_ = true; }
  bool move(TimeNs now);
  bool look_after_rails(TimeNs now);
  void report_connected();
  void report_finished();
  bool flush_frames();
  bool flush_acknowledgement(TimeNs now);
  bool check_rails_left(TimeNs now);
  bool check_acknowledged(TimeNs now);
  bool check_progress(TimeNs now);
  std::string describe_rails() const;
  bool progress_to_end(TimeNs now);
  Status usable() const;
  void end(const Status& reason);
  void fail(const Status& reason, TimeNs now);

  LinkOptions options_;
  LinkSink& sink_;
  LinkPairs pairs_;
  std::vector<Status> not_opened_;  // by pair: why its first endpoint could not be opened
  ReplayRecord record_;
  std::unique_ptr<LinkMessages> messages_;
  std::unique_ptr<LinkSender> sender_;
  std::unique_ptr<LinkFailover> failover_;

  std::deque<std::vector<std::byte>> frames_;  // to be sent in the message stream
  size_t reported_ = 0;                        // of sender_->finished()
  bool reporting_ = false;
  bool has_peer_ = false;  // connect() was called
  bool connected_ = false;
  bool ended_ = false;
  bool peer_gone_ = false;  // it said goodbye
  bool ack_due_ = false;
  bool ack_just_sent_ = false;  // by the last call of progress()
  // The user answers what it is told of at once: a put or message of its own can carry the
  // acknowledgement, which is held back for that until the next call of progress().
  bool answers_ = false;
  bool ack_held_ = false;
  bool pong_due_ = false;
  TimeNs now_ = 0;  // last told
  // Where nothing has happened since a call of progress() that did nothing, the link rests until
  // its deadline: a communicator has many links, and most have nothing to do most of the time.
  bool awake_ = true;
  TimeNs rest_until_ = 0;
  bool health_due_ = true;  // rails are looked after at once, or else at:
  TimeNs health_at_ = 0;
  bool looked_ = false;  // by the last call of progress()
  TimeNs stuck_since_ = kNever;
  TimeNs best_tier_until_ = 0;  // so long the first connection waits for a pair of a better tier
  uint64_t progress_made_ = 0;  // when something last got through, or nothing was to be sent:
  TimeNs progress_at_ = 0;
  uint32_t failures_then_ = 0;
};

}  // namespace railccl
