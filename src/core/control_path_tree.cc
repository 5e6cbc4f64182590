#include "src/core/control_path_tree.h"

#include <algorithm>

#include "src/base/log.h"
#include "src/core/bootstrap.h"
#include "transport/byte_io.h"

namespace railccl::boot {
namespace {

// What all must know also goes over direct connections, as long as that is not everyone to
// everyone.
constexpr size_t kFloodWide = 64;
constexpr size_t kProbesPerHost = 64;
constexpr TimeNs kGoodbyePause = 2 * kMillisecond;

}  // namespace

std::vector<std::byte> pack(const Place& place) {
  wire::ByteWriter writer;
  place.address.pack(writer);
  writer.write<uint32_t>(place.pid);
  const std::string_view host = std::string_view(place.host).substr(0, kMaxHostLabel);
  writer.write<uint8_t>(static_cast<uint8_t>(host.size()));
  writer.write_bytes(std::as_bytes(std::span(host)));
  writer.write_bytes(place.info);
  return writer.take();
}

Result<Place> unpack_place(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  Place place;
  RAILCCL_ASSIGN(place.address, SocketAddress::unpack(reader));
  place.pid = reader.read<uint32_t>();
  const std::vector<std::byte> host = reader.read_bytes(reader.read<uint8_t>());
  place.host.assign(reinterpret_cast<const char*>(host.data()), host.size());
  if (!reader.ok() || reader.left() > kMaxInfoBytes) {
    return error(Code::kPeerFailed, "malformed place of a rank");
  }
  place.info = reader.read_bytes(reader.left());
  return place;
}

TreeControlPath::TreeControlPath(const ConnectionOptions& options, const RankTree& tree,
                                 std::unique_ptr<Connections> connections, TimeNs now)
    : options_(options),
      connections_(std::move(connections)),
      members_(tree, options.rank),
      book_(options.rank, options.ranks),
      now_(now) {}

TreeControlPath::~TreeControlPath() = default;

void TreeControlPath::set_parent(const SocketAddress& address) {
  parent_address_ = address;
  connections_->want(members_.parent(), *this);
}

Status TreeControlPath::end_meeting() {
  const GatherBook::Blobs* table = book_.poll(kPlacesSequence);
  for (size_t rank = 0; rank < table->size(); ++rank) {
    const Result<Place> place = unpack_place((*table)[rank]);
    if (!place) return place.error().with_context(fmt::format("rank {}", rank));
  }
  places_ = *table;
  book_.forget(kPlacesSequence);
  dirty_ = true;
  return Status::ok();
}

void TreeControlPath::step(TimeNs now) {
  now_ = now;
  connections_->progress(now, *this);
  settle();
}

std::optional<Status> TreeControlPath::problem() const {
  if (failure_) return failure_->status;
  const auto bad = std::find_if(events_.begin(), events_.end(),
                                [](const Event& event) { return !event.status.is_ok(); });
  if (bad == events_.end()) return std::nullopt;
  return bad->status.with_context("while the ranks were meeting");
}

std::span<const std::byte> TreeControlPath::info(int rank) const {
  const std::vector<std::byte>& place = places_[static_cast<size_t>(rank)];
  return std::span(place).last(unpack_place(place)->info.size());
}

std::optional<SocketAddress> TreeControlPath::address_of(int peer) {
  if (outcast_ || members_.gone(peer)) return std::nullopt;
  if (places_.empty()) return peer == members_.parent() ? parent_address_ : std::nullopt;
  return unpack_place(places_[static_cast<size_t>(peer)])->address;
}

std::string TreeControlPath::describe(int rank) const {
  if (places_.empty()) return fmt::format("rank {}", rank);
  const Place place = *unpack_place(places_[static_cast<size_t>(rank)]);
  return fmt::format("rank {} (host {}, process {})", rank, place.host, place.pid);
}

// --- what the caller does ---

Status TreeControlPath::send(int peer, std::span<const std::byte> message) {
  if (peer < 0 || peer >= ranks() || peer == rank() || message.size() > kMaxControlBytes) {
    return error(Code::kInvalidArgument,
                 "control message of {} bytes (at most {}) from rank {} to rank {} of {}",
                 message.size(), kMaxControlBytes, rank(), peer, ranks());
  }
  if (closing_) return error(Code::kInvalidUsage, "control message after close");
  if (outcast_) return failure_->status;
  if (const auto gone = gone_.find(peer); gone != gone_.end()) {
    return error(Code::kPeerFailed, "{}", gone->second.text);
  }
  tell(peer, ControlFrame::kMessage, message);
  return Status::ok();
}

void TreeControlPath::announce_failure(const Status& status) {
  if (failure_ || status.is_ok()) return;
  failure_ = FailureRecord{.origin = rank(), .status = status};
  flood(ControlFrame::kFailure, pack(*failure_));
}

Status TreeControlPath::begin_gather(uint64_t sequence, std::span<const std::byte> mine) {
  dirty_ = true;
  return book_.begin(sequence, mine);
}

const std::vector<std::vector<std::byte>>* TreeControlPath::poll_gather(uint64_t sequence) {
  return book_.poll(sequence);
}

void TreeControlPath::close(const Departure& departure) {
  if (closing_) return;
  closing_ = true;
  dirty_ = true;
  members_.add_goodbye(rank());
  const Goodbye mine{.rank = rank(), .departure = departure};
  goodbyes_.push_back(mine);
  // Everyone connected must have it before the end of the stream; the others get it by the tree.
  for (const int peer : connections_->peers_up()) {
    for (const auto& frame : pack_goodbyes({mine})) tell(peer, ControlFrame::kGoodbye, frame);
  }
}

bool TreeControlPath::closed() const {
  if (!closing_) return false;
  return outcast_ || (members_.all_ended() && delivered());
}

bool TreeControlPath::delivered() const {
  return fresh_goodbyes_.empty() && to_settle_.empty() && connections_->all_delivered();
}

bool TreeControlPath::progress(TimeNs now, ControlSink& sink) {
  now_ = now;
  sink_ = &sink;
  deliver_early(sink);
  bool active = connections_->progress(now, *this);
  active |= settle();
  active |= deliver(sink);
  sink_ = nullptr;
  return active;
}

Status TreeControlPath::take_message(int peer, std::span<const std::byte> message) {
  if (sink_ != nullptr) {
    sink_->on_control_message(peer, message);
    return Status::ok();
  }
  early_bytes_ += message.size();
  if (early_bytes_ > options_.max_queued_bytes) {
    return error(Code::kPeerFailed, "it sends too much while the ranks meet");
  }
  early_.emplace_back(peer, std::vector(message.begin(), message.end()));
  return Status::ok();
}

void TreeControlPath::deliver_early(ControlSink& sink) {
  while (!early_.empty()) {
    const auto [peer, message] = std::move(early_.front());
    early_.pop_front();
    sink.on_control_message(peer, message);
  }
}

bool TreeControlPath::deliver(ControlSink& sink) {
  const bool any = !events_.empty();
  while (!events_.empty()) {
    const Event event = std::move(events_.front());
    events_.pop_front();
    if (event.kind == Event::Kind::kLost) {
      sink.on_peer_lost(event.rank, event.status);
    } else if (event.kind == Event::Kind::kLeft) {
      sink.on_peer_left(event.rank, event.departure);
    } else {
      sink.on_failure_announced(event.rank, event.status);
    }
  }
  return any;
}

int TreeControlPath::wake_fd() const { return connections_->wake_fd(); }

TimeNs TreeControlPath::next_deadline() const {
  const bool undelivered = !events_.empty() || !early_.empty();
  if (dirty_ || !to_settle_.empty() || (undelivered && !places_.empty())) return 0;
  const TimeNs deadline = connections_->next_deadline();
  return fresh_goodbyes_.empty() ? deadline : std::min(deadline, goodbyes_at_);
}

void TreeControlPath::tell(int peer, ControlFrame type, std::span<const std::byte> payload) {
  connections_->send(peer, static_cast<uint16_t>(type), payload, *this);
}

void TreeControlPath::flood(ControlFrame type, std::span<const std::byte> payload) {
  const std::vector<int> up = connections_->peers_up();
  for (const int peer : up) {
    if (up.size() <= kFloodWide || members_.is_neighbour(peer)) tell(peer, type, payload);
  }
}

// --- what the connections report ---

// Whoever comes late learns all that was flooded before.
void TreeControlPath::on_up(int peer) {
  dirty_ = true;
  if (const auto gone = gone_.find(peer); gone != gone_.end()) {
    to_settle_.push_back(gone->second);  // which tells it so and drops the connection
    return;
  }
  for (const auto& [rank, record] : gone_) tell(peer, ControlFrame::kGone, pack(record));
  if (failure_) tell(peer, ControlFrame::kFailure, pack(*failure_));
  for (const auto& frame : pack_goodbyes(goodbyes_)) tell(peer, ControlFrame::kGoodbye, frame);
}

Status TreeControlPath::on_frame(int peer, const Frame& frame) {
  switch (static_cast<ControlFrame>(frame.type)) {
    case ControlFrame::kMessage:
      if (frame.payload.size() > kMaxControlBytes) break;
      return take_message(peer, frame.payload);
    case ControlFrame::kGone: {
      RAILCCL_ASSIGN(GoneRecord record, unpack_gone(frame.payload, ranks()));
      if (!members_.gone(record.rank)) to_settle_.push_back(std::move(record));
      return Status::ok();
    }
    case ControlFrame::kFailure: {
      RAILCCL_ASSIGN(const FailureRecord record, unpack_failure(frame.payload, ranks()));
      learn_failure(record);
      return Status::ok();
    }
    case ControlFrame::kGoodbye: {
      RAILCCL_ASSIGN(const auto goodbyes, unpack_goodbyes(frame.payload, ranks()));
      learn_goodbyes(goodbyes);
      return Status::ok();
    }
    case ControlFrame::kGather:
      dirty_ = true;
      return book_.accept(peer, frame.payload);
    case ControlFrame::kKeepAlive:
      return Status::ok();
  }
  return error(Code::kPeerFailed, "malformed frame (type {}, length {})", frame.type,
               frame.payload.size());
}

void TreeControlPath::on_down(int peer, DownCause cause, const std::string& reason) {
  if (outcast_) return;
  // At the end those who left at their own deadline have nobody left to speak for them.
  const bool left = members_.said_goodbye(peer) || (closing_ && cause == DownCause::kRefused);
  GoneRecord record{.rank = peer,
                    .kind = left ? GoneRecord::Kind::kLeft : GoneRecord::Kind::kLost,
                    .noticed_by = rank(),
                    .text = left ? departure_text(peer) : loss_text(peer, cause, reason)};
  // The communicator that ends for it warns; while ranks meet, whoever ends the meeting says why.
  if (!left && !closing_ && !places_.empty()) {
    RAILCCL_INFO(Subsys::kBootstrap, "control path: {}", record.text);
  }
  to_settle_.push_back(std::move(record));
  if (cause == DownCause::kSilent && !left) probe_host_of(peer);
}

// Its host may be gone as a whole. The ranks there that have no live neighbour would be found one
// level of the tree after the other, each after a silence timeout; so all are tried at once.
void TreeControlPath::probe_host_of(int silent) {
  if (places_.empty()) return;
  const std::string host = unpack_place(places_[static_cast<size_t>(silent)])->host;
  size_t probed = 0;
  for (int other = 0; other < ranks() && probed < kProbesPerHost; ++other) {
    if (other == rank() || other == silent || members_.gone(other)) continue;
    if (unpack_place(places_[static_cast<size_t>(other)])->host != host) continue;
    connections_->want(other, *this);
    ++probed;
  }
}

std::string TreeControlPath::departure_text(int rank) const {
  const auto said = std::ranges::find(goodbyes_, rank, &Goodbye::rank);
  const Departure departure = said == goodbyes_.end() ? Departure{} : said->departure;
  return fmt::format("{} has {}", describe(rank), departure.verb());
}

std::string TreeControlPath::loss_text(int peer, DownCause cause, const std::string& reason) const {
  const TimeNs heard = connections_->heard_at(peer);
  const std::string last =
      heard == 0 ? "" : fmt::format("; last heard from {:.1f} s before", in_seconds(now_ - heard));
  const auto lost = [&](std::string why) {
    return fmt::format("{} is lost, noticed by rank {}: {}{}", describe(peer), rank(), why, last);
  };
  switch (cause) {
    case DownCause::kClosed:
      return lost(fmt::format("its process has ended or was killed ({})", reason));
    case DownCause::kRefused:
      return lost(fmt::format("its process has ended ({})", reason));
    case DownCause::kSilent:
      return lost(
          fmt::format("nothing was heard from it for {:.1f} s: its host or the network to "
                      "it is down, or its process is stopped{}{}",
                      in_seconds(options_.silence_timeout_ns), reason.empty() ? "" : "; ", reason));
    case DownCause::kStalled:
      return lost(fmt::format("its process is stopped or hangs ({})", reason));
    case DownCause::kBadFrame:
      return lost(reason);
  }
  return lost(reason);
}

// --- what follows from it ---

void TreeControlPath::learn_failure(const FailureRecord& record) {
  if (failure_) return;
  failure_ = record;
  events_.push_back(
      {.kind = Event::Kind::kFailure, .rank = record.origin, .status = record.status});
  flood(ControlFrame::kFailure, pack(record));
}

void TreeControlPath::learn_goodbyes(const std::vector<Goodbye>& goodbyes) {
  for (const Goodbye& goodbye : goodbyes) {
    if (!members_.add_goodbye(goodbye.rank)) continue;
    goodbyes_.push_back(goodbye);
    if (fresh_goodbyes_.empty()) goodbyes_at_ = std::max(now_, goodbyes_at_);
    fresh_goodbyes_.push_back(goodbye);
    if (closing_) continue;
    events_.push_back({.kind = Event::Kind::kLeft,
                       .rank = goodbye.rank,
                       .status = Status::ok(),
                       .departure = goodbye.departure});
  }
}

bool TreeControlPath::settle() {
  bool active = dirty_ || !to_settle_.empty();
  while (!to_settle_.empty()) {
    const GoneRecord record = std::move(to_settle_.front());
    to_settle_.pop_front();
    take_leave_of(record);
  }
  if (dirty_ && !outcast_) mend();
  dirty_ = false;
  if (!fresh_goodbyes_.empty() && now_ >= goodbyes_at_) {
    pass_goodbyes();
    active = true;
  }
  return active;
}

void TreeControlPath::take_leave_of(const GoneRecord& record) {
  if (outcast_) return;
  if (record.rank == rank()) {
    outcast_ = true;
    const Status status =
        error(Code::kPeerFailed, "the other ranks have given this rank up: {}", record.text);
    if (!closing_) RAILCCL_INFO(Subsys::kBootstrap, "control path: {}", status.message());
    if (!failure_) {
      failure_ = FailureRecord{.origin = record.noticed_by, .status = status};
      events_.push_back(
          {.kind = Event::Kind::kFailure, .rank = record.noticed_by, .status = status});
    }
    return;
  }
  if (!members_.gone(record.rank)) connections_->read_rest(record.rank, *this);
  connections_->drop(record.rank, static_cast<uint16_t>(ControlFrame::kGone), pack(record));
  if (!members_.mark_gone(record.rank)) return;
  dirty_ = true;
  gone_.emplace(record.rank, record);
  if (record.kind == GoneRecord::Kind::kLost && !closing_) {
    events_.push_back({.kind = Event::Kind::kLost,
                       .rank = record.rank,
                       .status = Status(Code::kPeerFailed, record.text)});
  }
  if (!members_.all_ended()) flood(ControlFrame::kGone, pack(record));
}

// Sees to it that there is a connection to every neighbour in the tree as it is now, and that the
// gathers go on over it.
void TreeControlPath::mend() {
  if (!members_.all_ended() && !places_.empty()) {
    for (const int child : members_.children()) connections_->want(child, *this);
    if (members_.parent() >= 0) connections_->want(members_.parent(), *this);
  }
  book_.advance(
      members_, [this](int peer) { return connections_->up(peer); },
      [this](int peer, std::span<const std::byte> payload) {
        tell(peer, ControlFrame::kGather, payload);
      });
}

// Many ranks close at about the same time: their goodbyes travel together.
void TreeControlPath::pass_goodbyes() {
  goodbyes_at_ = now_ + kGoodbyePause;
  const auto frames = pack_goodbyes(std::exchange(fresh_goodbyes_, {}));
  for (const int peer : connections_->peers_up()) {
    if (!members_.is_neighbour(peer)) continue;
    for (const auto& frame : frames) tell(peer, ControlFrame::kGoodbye, frame);
  }
}

}  // namespace railccl::boot
