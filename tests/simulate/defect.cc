#include "tests/simulate/defect.h"

#include <algorithm>
#include <array>
#include <deque>
#include <unordered_map>
#include <utility>

#include "tests/transport/forwarding_rail.h"

namespace railccl::simulate {
namespace {

constexpr std::array<std::string_view, 11> kNames = {"none",
                                                     "fence-after-verdict",
                                                     "release-at-completion",
                                                     "old-epoch-accepted",
                                                     "chunk-twice",
                                                     "credit-lost",
                                                     "no-drain",
                                                     "ack-before-whole",
                                                     "picture-early",
                                                     "promise-forgotten",
                                                     "no-hold"};
constexpr uint64_t kTagsPerLink = 256;
constexpr TimeNs kLateFence = 300 * kMicrosecond;

class DefectEndpoint;

class DefectRail final : public testing_support::ForwardingRail, private EventSink {
 public:
  DefectRail(std::unique_ptr<Rail> inner, DefectRailConfig config)
      : ForwardingRail(std::move(inner)), config_(std::move(config)) {}

  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override {
    return ForwardingRail::register_memory(region.always_placed());
  }
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t tag) override;
  bool progress(TimeNs now, EventSink& sink) override;

 private:
  friend class DefectEndpoint;

  void on_event(const RailEvent& event) override;
  void raise(const RailEvent& event) {
    events_.push_back(event);
    config_.wake();
  }
  Defect defect() const { return config_.defect; }
  DefectMemory::Link& link_of(uint64_t tag) const {
    return config_.memory->links[tag / kTagsPerLink];
  }
  void remember_completed(DefectMemory::Link& link, const Put& put, const RailEvent& event);
  void count_twice(DefectMemory::Link& link, RailEvent& event);

  DefectRailConfig config_;
  // Endpoints are opened under tags of this rail, so that what comes from one that only seems to be
  // closed is known from what comes from its successor.
  uint64_t next_tag_ = 1;
  std::unordered_map<uint64_t, DefectEndpoint*> endpoints_;            // by inner tag
  std::unordered_map<uint64_t, std::unique_ptr<Endpoint>> lingering_;  // seem to be closed
  std::vector<uint64_t> ended_;  // of lingering_, to be destroyed outside of events
  std::deque<RailEvent> events_;
};

class DefectEndpoint final : public Endpoint {
 public:
  DefectEndpoint(DefectRail& rail, std::unique_ptr<Endpoint> inner, uint64_t tag,
                 uint64_t inner_tag)
      : rail_(rail), inner_(std::move(inner)), tag_(tag), inner_tag_(inner_tag) {
    rail_.endpoints_[inner_tag_] = this;
  }
  ~DefectEndpoint() override {
    rail_.endpoints_.erase(inner_tag_);
    if (seems_closed_) rail_.lingering_[inner_tag_] = std::move(inner_);
  }
  std::vector<std::byte> address() const override { return inner_->address(); }
  Status connect(const std::vector<std::byte>& peer_address) override {
    return inner_->connect(peer_address);
  }
  Status put(const Put& put) override;
  void close() override;
  void on_event(RailEvent event);

 private:
  DefectRail& rail_;
  std::unique_ptr<Endpoint> inner_;
  uint64_t tag_;
  uint64_t inner_tag_;
  bool seems_closed_ = false;
  std::deque<Put> outstanding_;
};

Status DefectEndpoint::put(const Put& put) {
  Put changed = put;
  const auto header = wire::decode_header(put.notification);
  DefectMemory::Link& link = rail_.link_of(tag_);
  if (rail_.defect() == Defect::kAckBeforeWhole && header->kind == wire::NoteKind::kAck) {
    wire::AckNote ack = wire::decode_ack(put.notification);
    if (link.incoming.contains(ack.puts)) ++ack.puts;
    changed.notification = encode(*header, ack);
  }
  RAILCCL_TRY(inner_->put(changed));
  outstanding_.push_back(put);
  return Status::ok();
}

void DefectEndpoint::close() {
  const bool early = rail_.defect() == Defect::kFenceAfterVerdict;
  if (!early && rail_.defect() != Defect::kNoDrainOnClose) {
    inner_->close();
    return;
  }
  if (std::exchange(seems_closed_, true)) return;
  if (early) {
    for (const Put& put : outstanding_) {
      rail_.raise({.kind = RailEvent::Kind::kPutDone,
                   .endpoint_tag = tag_,
                   .token = put.token,
                   .status = Status(Code::kAborted, "the endpoint was closed")});
    }
    rail_.config_.network->schedule(rail_.config_.network->now() + kLateFence,
                                    [&rail = rail_, number = inner_tag_] {
                                      const auto found = rail.lingering_.find(number);
                                      if (found != rail.lingering_.end()) found->second->close();
                                    });
  } else {
    inner_->close();
  }
  rail_.raise({.kind = RailEvent::Kind::kClosed, .endpoint_tag = tag_});
}

void DefectEndpoint::on_event(RailEvent event) {
  if (seems_closed_) return;
  event.endpoint_tag = tag_;
  DefectMemory::Link& link = rail_.link_of(tag_);
  if (event.kind == RailEvent::Kind::kNotification) rail_.count_twice(link, event);
  rail_.raise(event);
  if (event.kind != RailEvent::Kind::kPutDone) return;
  const auto done = std::find_if(outstanding_.begin(), outstanding_.end(),
                                 [&](const Put& put) { return put.token == event.token; });
  if (done == outstanding_.end()) return;
  rail_.remember_completed(link, *done, event);
  outstanding_.erase(done);
}

// --- DefectRail ----------------------------------------------------------------------------------

Result<std::unique_ptr<Endpoint>> DefectRail::open_endpoint(uint64_t tag) {
  const uint64_t inner_tag = next_tag_++;
  RAILCCL_ASSIGN(std::unique_ptr<Endpoint> inner, ForwardingRail::open_endpoint(inner_tag));
  return std::make_unique<DefectEndpoint>(*this, std::move(inner), tag, inner_tag);
}

// The link hears of an acknowledgement as soon as all chunks of its oldest puts have completed.
void DefectRail::remember_completed(DefectMemory::Link& link, const Put& put,
                                    const RailEvent& event) {
  const auto header = wire::decode_header(put.notification);
  if (defect() != Defect::kReleaseAtCompletion || !event.status.is_ok() ||
      header->kind != wire::NoteKind::kChunk) {
    return;
  }
  const wire::ChunkNote chunk = wire::decode_chunk(put.notification, put.bytes);
  DefectMemory::OutgoingPut& out = link.outgoing[header->sequence];
  out.total = chunk.total;
  if (out.done.insert(chunk.offset).second) out.completed += put.bytes;
  const uint32_t before = link.released;
  while (!link.outgoing.empty() && link.outgoing.begin()->first == link.released &&
         link.outgoing.begin()->second.completed == link.outgoing.begin()->second.total) {
    link.outgoing.erase(link.outgoing.begin());
    ++link.released;
  }
  if (link.released == before) return;
  const wire::NoteHeader forged{.kind = wire::NoteKind::kAck, .epoch = header->epoch};
  RailEvent heard = event;
  heard.kind = RailEvent::Kind::kNotification;
  heard.notification =
      encode(forged, wire::AckNote{.puts = link.released, .messages = link.messages});
  raise(heard);
}

void DefectRail::count_twice(DefectMemory::Link& link, RailEvent& event) {
  const auto header = wire::decode_header(event.notification);
  if (header->kind == wire::NoteKind::kAck) {
    link.messages = wire::decode_ack(event.notification).messages;
  }
  if (header->kind != wire::NoteKind::kChunk) return;
  wire::ChunkNote chunk = wire::decode_chunk(event.notification, event.bytes);
  DefectMemory::IncomingPut& put = link.incoming[header->sequence];
  put.total = chunk.total;
  const bool known = put.arrived.contains(chunk.offset);
  if (known && defect() == Defect::kChunkCountedTwice) {
    // The next place of this size that nothing has come for.
    const uint64_t next = chunk.offset + event.bytes;
    if (event.bytes == 0 || next + event.bytes > chunk.total || put.arrived.contains(next)) return;
    chunk.offset = next;
    event.notification = encode(*header, chunk);
  }
  if (put.arrived.emplace(chunk.offset, event.bytes).second) put.bytes += event.bytes;
  if (put.bytes == put.total && defect() == Defect::kAckBeforeWhole) {
    link.incoming.erase(header->sequence);
  }
}

void DefectRail::on_event(const RailEvent& event) {
  const bool of_port =
      event.kind == RailEvent::Kind::kRailDown || event.kind == RailEvent::Kind::kRailUp;
  if (of_port) {
    raise(event);
    return;
  }
  const auto found = endpoints_.find(event.endpoint_tag);
  if (found != endpoints_.end()) {
    found->second->on_event(event);
  } else if (event.kind == RailEvent::Kind::kClosed) {
    ended_.push_back(event.endpoint_tag);
  }
}

bool DefectRail::progress(TimeNs now, EventSink& sink) {
  ForwardingRail::progress(now, *this);
  for (const uint64_t inner_tag : std::exchange(ended_, {})) lingering_.erase(inner_tag);
  const size_t due = events_.size();
  for (size_t i = 0; i < due; ++i) {
    const RailEvent event = std::move(events_.front());
    events_.pop_front();
    sink.on_event(event);
  }
  return due != 0;
}

}  // namespace

std::string_view defect_name(Defect defect) { return kNames[static_cast<size_t>(defect)]; }

std::optional<Defect> defect_by_name(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Defect>(found - kNames.begin());
}

std::vector<Defect> all_defects() {
  std::vector<Defect> all;
  for (size_t i = 1; i < kNames.size(); ++i) all.push_back(static_cast<Defect>(i));
  return all;
}

std::unique_ptr<Rail> defect_rail(std::unique_ptr<Rail> inner, const DefectRailConfig& config) {
  return std::make_unique<DefectRail>(std::move(inner), config);
}

void OldEpochs::on_sent(const wire::Frame& frame) {
  const auto note = [this](const wire::PairEpoch& rail) { epochs_[rail.pair] = rail.epoch; };
  if (const auto* down = std::get_if<wire::RailDownFrame>(&frame)) note(down->rail);
  if (const auto* offer = std::get_if<wire::OfferFrame>(&frame)) note(offer->rail);
  if (const auto* answer = std::get_if<wire::AnswerFrame>(&frame)) note(answer->rail);
}

void OldEpochs::on_received(wire::Frame& frame) const {
  auto* verdict = std::get_if<wire::VerdictFrame>(&frame);
  if (verdict == nullptr) return;
  const auto present = epochs_.find(verdict->rail.pair);
  if (present != epochs_.end()) verdict->rail.epoch = present->second;
}

}  // namespace railccl::simulate
