// link_cost_benchmark without the tracking of chunks. The receiver counts the bytes of a put and
// keeps no record of which ones (its ReplayRecord takes the place of the library's in this
// program); nothing is acknowledged: a put is done for its sender when its chunks have completed on
// the rails. Such a link cannot replay anything.
#include <utility>
#include <vector>

#include "tests/transport/forwarding_rail.h"
#include "tests/transport/link_cost.h"
#include "transport/replay_record.h"
#include "transport/wire.h"

namespace railccl {

// --- The record ----------------------------------------------------------------------------------

ReplayRecord::IncomingPut& ReplayRecord::open(uint64_t sequence) {
  while (puts_.end() <= sequence) {
    IncomingPut& put = puts_.push_back();
    put.whole = false;
    put.arrived = 0;
  }
  return puts_[sequence];
}

ReplayRecord::Arrival ReplayRecord::on_chunk(uint32_t number, const wire::ChunkNote& chunk,
                                             uint64_t bytes) {
  IncomingPut& put = open(widen(number, puts_.first()));
  put.arrived += bytes;
  if (put.arrived != chunk.total) return Arrival::kPart;
  put.whole = true;
  while (!puts_.empty() && puts_.front().whole) puts_.pop_front();
  return Arrival::kWhole;
}

bool ReplayRecord::is_awaited(uint32_t, const wire::ChunkNote&, uint64_t) const { return true; }
wire::AckNote ReplayRecord::whole_puts() const { return {}; }
std::vector<wire::LandedPut> ReplayRecord::landed() const { return {}; }

// --- Acknowledgements ----------------------------------------------------------------------------

namespace {

// The puts of one side, over all its rails.
class Completions {
 public:
  void on_posted(uint32_t number, uint64_t total) {
    const uint64_t sequence = widen(number, puts_.first());
    while (puts_.end() <= sequence) puts_.push_back() = {};
    puts_[sequence].total = total;
  }
  // True: puts before first() are done, and more of them than before.
  bool on_completed(uint32_t number, uint64_t bytes) {
    const uint64_t sequence = widen(number, puts_.first());
    if (!puts_.contains(sequence)) return false;
    OutgoingPut& put = puts_[sequence];
    put.completed += bytes;
    put.done = put.completed == put.total;
    if (!put.done || sequence != puts_.first()) return false;
    while (!puts_.empty() && puts_.front().done) puts_.pop_front();
    return true;
  }
  uint32_t first() const { return static_cast<uint32_t>(puts_.first()); }

 private:
  struct OutgoingPut {
    uint64_t total = 0;
    uint64_t completed = 0;
    bool done = false;
  };
  SequenceRing<OutgoingPut> puts_;
};

class UntrackedRail;

class UntrackedEndpoint final : public testing_support::ForwardingEndpoint {
 public:
  UntrackedEndpoint(std::unique_ptr<Endpoint> inner, UntrackedRail& rail, uint64_t tag)
      : ForwardingEndpoint(std::move(inner)), rail_(rail), tag_(tag) {}
  Status put(const Put& put) override;

 private:
  UntrackedRail& rail_;
  uint64_t tag_;
};

class UntrackedRail final : public testing_support::ForwardingRail, private EventSink {
 public:
  UntrackedRail(std::unique_ptr<Rail> inner, Completions& completions)
      : ForwardingRail(std::move(inner)), completions_(completions) {}

  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t tag) override {
    RAILCCL_ASSIGN(std::unique_ptr<Endpoint> inner, ForwardingRail::open_endpoint(tag));
    return std::make_unique<UntrackedEndpoint>(std::move(inner), *this, tag);
  }
  bool progress(TimeNs now, EventSink& sink) override {
    sink_ = &sink;
    const bool did = ForwardingRail::progress(now, *this);
    if (swallowed_.empty()) return did;
    for (const auto& [tag, token] : std::exchange(swallowed_, {})) {
      sink.on_event({.kind = RailEvent::Kind::kPutDone, .endpoint_tag = tag, .token = token});
    }
    return true;
  }

  void swallow(uint64_t tag, uint64_t token) { swallowed_.emplace_back(tag, token); }
  Completions& completions() { return completions_; }

 private:
  // A chunk's token holds the number of its put, its bytes are those that were posted.
  void on_event(const RailEvent& event) override {
    sink_->on_event(event);
    if (event.kind != RailEvent::Kind::kPutDone || event.token >> 60 != kChunkToken) return;
    auto& [token, bytes] = posted_[event.token % posted_.size()];
    if (token != event.token || !completions_.on_completed(static_cast<uint32_t>(token), bytes)) {
      return;
    }
    const Notification ack =
        encode({.kind = wire::NoteKind::kAck}, wire::AckNote{.puts = completions_.first()});
    sink_->on_event({.kind = RailEvent::Kind::kNotification,
                     .endpoint_tag = event.endpoint_tag,
                     .notification = ack});
  }

 public:
  static constexpr uint64_t kChunkToken = 1;
  // Of chunks in flight; the benchmark has fewer of them.
  void remember(uint64_t token, uint64_t bytes) {
    posted_[token % posted_.size()] = {token, bytes};
  }

 private:
  Completions& completions_;
  EventSink* sink_ = nullptr;
  std::vector<std::pair<uint64_t, uint64_t>> swallowed_;
  std::vector<std::pair<uint64_t, uint64_t>> posted_{4093};
};

Status UntrackedEndpoint::put(const Put& put) {
  const auto header = wire::decode_header(put.notification);
  if (header && header->kind == wire::NoteKind::kAck) {
    rail_.swallow(tag_, put.token);
    return Status::ok();
  }
  RAILCCL_TRY(ForwardingEndpoint::put(put));
  if (header && header->kind == wire::NoteKind::kChunk) {
    rail_.completions().on_posted(header->sequence,
                                  wire::decode_chunk(put.notification, put.bytes).total);
    rail_.remember(put.token, put.bytes);
  }
  return Status::ok();
}

class Untracked final : public RailDecorator {
 public:
  std::unique_ptr<Rail> decorate(std::unique_ptr<Rail> rail) override {
    return std::make_unique<UntrackedRail>(std::move(rail), completions_);
  }

 private:
  Completions completions_;
};

}  // namespace

std::unique_ptr<RailDecorator> make_rail_decorator() { return std::make_unique<Untracked>(); }

}  // namespace railccl
