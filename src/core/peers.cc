#include "src/core/peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/base/log.h"
#include "src/base/trace.h"

namespace railccl {
namespace {

// First byte of what Peers objects say to each other on the control path.
enum class ControlKind : uint8_t {
  kOffer = 1,    // scratch description, then the link's address
  kForLink = 2,  // for the link object itself
};

std::vector<std::byte> tagged(ControlKind kind, std::span<const std::byte> first,
                              std::span<const std::byte> second = {}) {
  std::vector<std::byte> bytes = {static_cast<std::byte>(kind)};
  bytes.insert(bytes.end(), first.begin(), first.end());
  bytes.insert(bytes.end(), second.begin(), second.end());
  return bytes;
}

// | bytes of the scratch description 4 | description | link address |
struct Offer {
  RemoteBuffer scratch;
  std::span<const std::byte> address;
};

std::vector<std::byte> pack_offer(const RemoteBuffer& scratch, std::span<const std::byte> address) {
  const std::vector<std::byte> description = pack(scratch);
  const auto length = static_cast<uint32_t>(description.size());
  std::vector<std::byte> bytes(sizeof length);
  std::memcpy(bytes.data(), &length, sizeof length);
  bytes.insert(bytes.end(), description.begin(), description.end());
  bytes.insert(bytes.end(), address.begin(), address.end());
  return bytes;
}

Result<Offer> unpack_offer(std::span<const std::byte> bytes) {
  uint32_t length = 0;
  if (bytes.size() < sizeof length) return error(Code::kPeerFailed, "link offer is too short");
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto rest = bytes.subspan(sizeof length);
  if (length > rest.size()) return error(Code::kPeerFailed, "link offer is cut off");
  Offer offer;
  RAILCCL_ASSIGN(offer.scratch, unpack_remote_buffer(rest.first(length)));
  offer.address = rest.subspan(length);
  return offer;
}

}  // namespace

struct Peers::PeerLink final : EndpointEventSink {
  int peer = 0;
  std::unique_ptr<Link> link;
  uint64_t tag_base = 0;
  bool connected = false;
  RemoteBuffer scratch;
  CreditWindow credit;  // for small data

  explicit PeerLink(uint64_t credit_bytes) : credit(credit_bytes) {}
  void on_endpoint_event(int pair, const RailEvent& event, TimeNs now) override {
    link->on_rail_event(pair, event, now);
  }
  void on_port_event(int local_rail, const RailEvent& event, TimeNs now) override {
    link->on_port_event(local_rail, event, now);
  }
};

Peers::Peers(const PeersOptions& options, RailHost& host, std::vector<NodeInfo> nodes,
             const RegisteredBuffer* scratch, std::vector<Inbox>& inboxes, PeersObserver& observer)
    : options_(options),
      host_(host),
      nodes_(std::move(nodes)),
      scratch_(scratch),
      observer_(observer),
      links_(nodes_.size()),
      inboxes_(inboxes) {}

Peers::~Peers() {
  for (PeerLink* link : active_) host_.remove_endpoint_sink(link->tag_base);
}

Status Peers::ensure(int peer, TimeNs now) {
  return find(peer) != nullptr ? Status::ok() : begin(peer, now);
}

bool Peers::connected(int peer) const {
  const PeerLink* link = find(peer);
  return link != nullptr && link->connected;
}

const RemoteBuffer& Peers::remote_scratch(int peer) const { return find(peer)->scratch; }

Status Peers::begin(int peer, TimeNs now) {
  const std::vector<RailSummary>& mine = nodes_[static_cast<size_t>(options_.rank)].rails;
  const std::vector<RailSummary>& theirs = nodes_[static_cast<size_t>(peer)].rails;
  LinkOptions link_options = options_.link;
  link_options.self = options_.rank;
  link_options.peer = peer;
  link_options.pairs = plan_pairs(mine, theirs, options_.cross);
  if (link_options.pairs.empty()) {
    return error(Code::kInvalidUsage,
                 "no rail in common: {}; look at RAILCCL_TRANSPORT, RAILCCL_RAILS, "
                 "RAILCCL_TCP_FALLBACK and RAILCCL_SOCKET_IFNAME on both hosts ({} and {})",
                 explain_no_pair(options_.rank, mine, peer, theirs),
                 nodes_[static_cast<size_t>(options_.rank)].host,
                 nodes_[static_cast<size_t>(peer)].host);
  }
  const std::string unpaired = explain_unpaired(mine, theirs, link_options.pairs);
  if (!unpaired.empty()) {
    RAILCCL_WARN_ONCE(Subsys::kNet, "unequal rails",
                      "rank {} to rank {} on {}: the two have different rails, {} are of no use "
                      "between them (RAILCCL_CROSS_NIC=1 uses all of one transport)",
                      options_.rank, peer, nodes_[static_cast<size_t>(peer)].host, unpaired);
  }
  auto peer_link = std::make_unique<PeerLink>(options_.credit_bytes);
  peer_link->peer = peer;
  peer_link->tag_base = host_.add_endpoint_sink(peer_link.get());
  auto link = Link::create(link_options, host_.rails(), peer_link->tag_base, *this);
  if (!link) {
    host_.remove_endpoint_sink(peer_link->tag_base);
    return link.error().with_context(
        fmt::format("link from rank {} to rank {}", options_.rank, peer));
  }
  peer_link->link = std::move(*link);
  active_.push_back(peer_link.get());
  links_[static_cast<size_t>(peer)] = std::move(peer_link);
  PeerLink& made = *find(peer);
  const std::vector<std::byte> offer = pack_offer(describe(*scratch_), made.link->address());
  observer_.send_to_peers(peer, tagged(ControlKind::kOffer, offer));
  for (const int rail : rails_off_) made.link->set_rail(rail, false, now);
  return Status::ok();
}

void Peers::set_rail(int local_rail, bool on, TimeNs now) {
  if (on) {
    rails_off_.erase(local_rail);
  } else {
    rails_off_.insert(local_rail);
  }
  for (PeerLink* peer_link : active_) peer_link->link->set_rail(local_rail, on, now);
}

Status Peers::connect(PeerLink& peer_link, std::span<const std::byte> offer, TimeNs now) {
  RAILCCL_ASSIGN(const Offer parsed, unpack_offer(offer));
  peer_link.scratch = parsed.scratch;
  return peer_link.link->connect(parsed.address, now);
}

Status Peers::put(int peer, const LinkPut& put, TimeNs now) {
  trace_at(now, {.kind = TraceKind::kPutPosted,
                 .source = options_.link.trace_source,
                 .peer = peer,
                 .a = put.token,
                 .b = put.bytes});
  return find(peer)->link->put(put, now);
}

Result<bool> Peers::send(int peer, const MessageHeader& header, std::span<const std::byte> body,
                         TimeNs now) {
  RAILCCL_TRY(ensure(peer, now));
  PeerLink& peer_link = *find(peer);
  if (!peer_link.connected) return false;
  const bool is_data = header.type == MessageType::kData || header.type == MessageType::kP2pData;
  const uint64_t cost = is_data ? body.size() : 0;
  if (!peer_link.credit.allows(cost)) return false;
  MessageHeader told = header;
  told.consumed = peer_link.credit.to_tell();
  const Status status = peer_link.link->send(as_bytes(told), body, now);
  if (status.code() == Code::kBackPressure) return false;
  RAILCCL_TRY(status);
  peer_link.credit.sent(cost);
  peer_link.credit.told();
  return true;
}

void Peers::consumed(int peer, size_t bytes) {
  if (PeerLink* peer_link = find(peer)) peer_link->credit.consumed(bytes);
}

bool Peers::report_consumption(PeerLink& peer_link, TimeNs now) {
  if (!peer_link.credit.due()) return false;
  const Result<bool> sent =
      send(peer_link.peer, {.type = MessageType::kCredit, .fingerprint = {}}, {}, now);
  return sent && *sent;
}

Status Peers::on_control_message(int peer, std::span<const std::byte> bytes, TimeNs now) {
  if (bytes.empty()) return error(Code::kPeerFailed, "empty link control message");
  const auto kind = static_cast<ControlKind>(bytes[0]);
  const auto rest = bytes.subspan(1);
  if (closing_) return Status::ok();  // no new links, and the old ones need nothing any more
  if (kind == ControlKind::kOffer) {
    RAILCCL_TRY(ensure(peer, now));
    return connect(*find(peer), rest, now);
  }
  if (kind != ControlKind::kForLink || find(peer) == nullptr) {
    return error(Code::kPeerFailed, "unexpected link control message of kind {}",
                 static_cast<int>(bytes[0]));
  }
  return find(peer)->link->on_control_path(rest, now);
}

bool Peers::progress(TimeNs now) {
  bool worked = false;
  for (PeerLink* peer_link : active_) {
    worked |= report_consumption(*peer_link, now);
    worked |= peer_link->link->progress(now);
  }
  return worked;
}

TimeNs Peers::next_deadline() const {
  TimeNs deadline = kNever;
  for (const PeerLink* peer_link : active_) {
    deadline = std::min(deadline, peer_link->link->next_deadline());
  }
  return deadline;
}

bool Peers::idle() const {
  return std::ranges::all_of(active_, [](const PeerLink* peer) { return peer->link->idle(); });
}

void Peers::close(const Status& reason, TimeNs now) {
  closing_ = true;
  for (PeerLink* peer_link : active_) peer_link->link->close(reason, now);
}

bool Peers::closed() const {
  return std::all_of(active_.begin(), active_.end(),
                     [](const PeerLink* peer_link) { return peer_link->link->closed(); });
}

std::vector<int> Peers::linked() const {
  std::vector<int> peers;
  for (const PeerLink* peer_link : active_) peers.push_back(peer_link->peer);
  return peers;
}

std::vector<Peers::RailReport> Peers::rail_reports() const {
  std::vector<RailReport> reports;
  for (const PeerLink* peer_link : active_) {
    const auto pairs =
        plan_pairs(nodes_[static_cast<size_t>(options_.rank)].rails,
                   nodes_[static_cast<size_t>(peer_link->peer)].rails, options_.cross);
    const std::vector<LinkRailStats> stats = peer_link->link->stats();
    for (size_t i = 0; i < stats.size(); ++i) {
      reports.push_back(
          {.peer = peer_link->peer, .local_rail = pairs[i].local_rail, .stats = stats[i]});
    }
  }
  return reports;
}

void Peers::on_connected(int peer) { find(peer)->connected = true; }

void Peers::on_put_done(int peer, uint64_t token, const Status& status) {
  trace({.kind = TraceKind::kPutDone,
         .source = options_.link.trace_source,
         .peer = peer,
         .a = token,
         .b = static_cast<uint64_t>(status.code())});
  observer_.on_put_done(token, status);
}

void Peers::on_notification(int peer, uint64_t tag) { inbox(peer).add_notification(tag); }

void Peers::on_message(int peer, std::span<const std::byte> bytes) {
  const Result<Message> message = parse_message(bytes);
  const Status status = message ? accept_message(peer, *message) : message.error();
  if (!status) observer_.on_peers_failed(status.with_context(fmt::format("rank {}", peer)));
}

Status Peers::accept_message(int peer, const Message& message) {
  const MessageHeader& header = message.header;
  if (!find(peer)->credit.on_told(header.consumed)) {
    return error(Code::kPeerFailed,
                 "it says that it consumed more small data than were sent to it: it is broken or "
                 "runs another version");
  }
  Inbox& box = inbox(peer);
  switch (header.type) {
    case MessageType::kReady:
    case MessageType::kP2pReady: {
      RAILCCL_ASSIGN(RemoteBuffer target, unpack_remote_buffer(message.body));
      trace({.kind = TraceKind::kReady,
             .source = options_.link.trace_source,
             .peer = peer,
             .a = header.sequence + (header.type == MessageType::kReady ? 0 : kTraceTransfer)});
      auto& queue = header.type == MessageType::kReady ? box.ready() : box.p2p_ready();
      queue.push_back({.sequence = header.sequence,
                       .fingerprint = header.fingerprint,
                       .target = std::move(target),
                       .offset = header.offset});
      return Status::ok();
    }
    case MessageType::kData:
    case MessageType::kP2pData: {
      if (observer_.on_small_data(peer, header, message.body)) {
        consumed(peer, message.body.size());
        return Status::ok();
      }
      auto& queue = header.type == MessageType::kData ? box.data() : box.p2p_data();
      queue.push_back({.header = header, .body = {message.body.begin(), message.body.end()}});
      return Status::ok();
    }
    case MessageType::kCredit:
      return Status::ok();
  }
  return error(Code::kInternalError, "message type was checked but not handled");
}

void Peers::on_failed(int peer, const Status& status) {
  observer_.on_peers_failed(status.with_context(fmt::format("link to rank {}", peer)));
}

void Peers::send_on_control_path(int peer, std::span<const std::byte> bytes) {
  observer_.send_to_peers(peer, tagged(ControlKind::kForLink, bytes));
}

}  // namespace railccl
