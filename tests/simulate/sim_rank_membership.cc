// SimRank: the start, the control path, the end (see sim_rank.h); as comm_start.cc, comm_events.cc
// and comm_end.cc.
#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/simulate/sim_rank.h"

namespace railccl::simulate {
namespace {

constexpr TimeNs kGoodbyeTimeout = 5 * kSecond;  // as the communicator's
constexpr TimeNs kParting = 50 * kMillisecond;
constexpr TimeNs kMeetingTimeouts = 4;  // of silence
constexpr uint64_t kStartGather = 2;
constexpr std::byte kForLink{2};  // first byte of what Peers sends for a link (peers.cc)

// First byte of a control message.
enum class Message : uint8_t { kForPeers = 1, kGoodbye = 2, kRails = 4 };

std::vector<std::byte> tagged(Message kind, std::span<const std::byte> body) {
  std::vector<std::byte> bytes(body.size() + 1);
  bytes[0] = static_cast<std::byte>(kind);
  std::copy(body.begin(), body.end(), bytes.begin() + 1);
  return bytes;
}

boot::SocketAddress address_of_rank(int rank) {
  return boot::SocketAddress::any(AF_INET).with_port(static_cast<uint16_t>(1000 + rank));
}

// | kind 4 | version 8 | number of an operation 8 | of the messages of RailAgreement
constexpr std::byte kPromise{3};
constexpr std::byte kCommit{4};
constexpr size_t kNumberAt = 12;

}  // namespace

// --- The start -----------------------------------------------------------------------------------

void SimRank::arrive(TimeNs now) {
  const boot::RankTree tree(workload_.ranks, workload_.roots, workload_.tree_arity);
  const boot::ConnectionOptions options{.rank = parts_.rank,
                                        .ranks = workload_.ranks,
                                        .key = {},
                                        .silence_timeout_ns = workload_.silence_timeout_ns};
  control_ =
      std::make_unique<boot::TreeControlPath>(options, tree, std::move(parts_.connections), now);
  const boot::Place place{.address = address_of_rank(parts_.rank),
                          .pid = static_cast<uint32_t>(parts_.rank) + 1,
                          .host = parts_.script->nodes[static_cast<size_t>(parts_.rank)].host,
                          .info = {}};
  (void)control_->begin_gather(boot::TreeControlPath::kPlacesSequence, pack(place)).is_ok();
  stage_ = Stage::kMeet;
  close_deadline_ = now + kMeetingTimeouts * workload_.silence_timeout_ns;
  parts_.observer->on_opened(parts_.rank);
  parts_.observer->on_phase(Fault::Phase::kInit);
}

void SimRank::tell_parent() {
  const boot::RankTree tree(workload_.ranks, workload_.roots, workload_.tree_arity);
  if (stage_ == Stage::kMeet) control_->set_parent(address_of_rank(tree.parent(parts_.rank)));
}

bool SimRank::step_meeting(TimeNs now) {
  if (control_->poll_gather(boot::TreeControlPath::kPlacesSequence) != nullptr) {
    const Status met = control_->end_meeting();
    if (!met) set_error(met, true);
    const RailInfo& rail = parts_.rails.front()->info();
    const double rate =
        static_cast<double>(rail.bytes_per_second) * static_cast<double>(parts_.rails.size());
    std::vector<std::byte> mine(sizeof rate);
    std::memcpy(mine.data(), &rate, sizeof rate);
    (void)control_->begin_gather(kStartGather, mine).is_ok();
    stage_ = Stage::kAgree;
    return true;
  }
  if (const auto problem = control_->problem()) set_error(*problem, true);
  if (now >= close_deadline_) {
    set_error(Status(Code::kTimeout,
                     fmt::format("rank {} has not met the other ranks in time", parts_.rank)),
              true);
  }
  return !error_.is_ok();
}

bool SimRank::step_agreement(TimeNs now) {
  const auto* blobs = control_->poll_gather(kStartGather);
  if (blobs == nullptr) return false;
  std::vector<double> rates(blobs->size());
  for (size_t rank = 0; rank < rates.size(); ++rank) {
    if ((*blobs)[rank].size() != sizeof(double))
      return false;  // it is lost; that comes as an error
    std::memcpy(&rates[rank], (*blobs)[rank].data(), sizeof(double));
  }
  const boot::RankTree tree(workload_.ranks, workload_.roots, workload_.tree_arity);
  RailModelOptions options{.agreement = {.rank = parts_.rank,
                                         .ranks = workload_.ranks,
                                         .parent = tree.parent(parts_.rank),
                                         .children = tree.children(parts_.rank),
                                         .pause_ns = workload_.picture_pause_ns},
                           .watch = workload_.rail_watch,
                           .at_start = {},
                           .rates = std::move(rates)};
  rail_model_ = std::make_unique<RailModel>(std::move(options), *peers_, rail_pointers_);
  close_deadline_ = 0;
  next_operation(now);
  for (const auto& [peer, message] : std::exchange(early_, {})) take_message(peer, message);
  return true;
}

// --- Control messages ----------------------------------------------------------------------------

bool SimRank::progress_control(TimeNs now) {
  bool did = false;
  if (stage_ == Stage::kMeet) {
    control_->step(now);
  } else {
    did = control_->progress(now, *this);
  }
  if (std::exchange(announce_, false)) {
    control_->announce_failure(error_);
    did = true;
  }
  if (!rail_model_ || !error_.is_ok()) return did;
  return rail_model_->progress(now, [this](int to, std::span<const std::byte> message) {
    (void)control_->send(to, tagged(Message::kRails, message)).is_ok();
  }) || did;
}

void SimRank::on_control_message(int peer, std::span<const std::byte> message) {
  if (rail_model_ == nullptr) {
    early_.emplace_back(peer, std::vector<std::byte>(message.begin(), message.end()));
  } else {
    take_message(peer, message);
  }
}

void SimRank::take_message(int peer, std::span<const std::byte> message) {
  if (ended()) return;
  const auto body = message.subspan(1);
  Status status;
  switch (static_cast<Message>(message[0])) {
    case Message::kGoodbye:
      goodbyes_[static_cast<size_t>(peer)] = true;
      break;
    case Message::kRails:
      status = rail_model_->accept(peer, tampered(body));
      break;
    case Message::kForPeers:
      status = peers_->on_control_message(peer,
                                          parts_.defect == Defect::kOldEpochAccepted
                                              ? with_old_epochs(peer, body)
                                              : std::vector<std::byte>(body.begin(), body.end()),
                                          now_);
      break;
  }
  if (!status) set_error(status.with_context(fmt::format("rank {}", peer)), true);
}

void SimRank::on_peer_lost(int peer, const Status& status) {
  goodbyes_[static_cast<size_t>(peer)] = true;
  set_error(status, false);
}

void SimRank::on_failure_announced(int /*origin*/, const Status& status) {
  set_error(status, false);
}

void SimRank::send_to_peers(int peer, std::span<const std::byte> bytes) {
  if (parts_.defect == Defect::kOldEpochAccepted && bytes[0] == kForLink) {
    const auto frame = wire::decode_frame(bytes.subspan(1));
    if (frame) old_epochs_[static_cast<size_t>(peer)].on_sent(*frame);
  }
  (void)control_->send(peer, tagged(Message::kForPeers, bytes)).is_ok();
}

std::vector<std::byte> SimRank::with_old_epochs(int peer, std::span<const std::byte> bytes) const {
  std::vector<std::byte> changed(bytes.begin(), bytes.end());
  auto frame = bytes[0] == kForLink ? wire::decode_frame(bytes.subspan(1))
                                    : Result<wire::Frame>(wire::PongFrame{});
  if (bytes[0] != kForLink || !frame) return changed;
  old_epochs_[static_cast<size_t>(peer)].on_received(*frame);
  changed = wire::encode(*frame);
  changed.insert(changed.begin(), kForLink);
  return changed;
}

// The defects of the agreement on rails, where its messages pass.
std::vector<std::byte> SimRank::tampered(std::span<const std::byte> message) const {
  std::vector<std::byte> changed(message.begin(), message.end());
  const bool early =
      parts_.defect == Defect::kPictureEarly && message[0] == kCommit && parts_.rank % 2 == 1;
  const bool low = parts_.defect == Defect::kPromiseForgotten && message[0] == kPromise;
  if (!early && !low) return changed;
  uint64_t number = 0;
  std::memcpy(&number, changed.data() + kNumberAt, sizeof number);
  number = early ? number - 1 : 0;
  std::memcpy(changed.data() + kNumberAt, &number, sizeof number);
  return changed;
}

// --- The end -------------------------------------------------------------------------------------

// As the communicator: a peer in its last operation may still need this rank's acknowledgements,
// and any rank its word on the rails.
bool SimRank::step_goodbye(TimeNs now) {
  const std::vector<int> linked = peers_->linked();
  if (close_deadline_ == 0) {
    close_deadline_ = now + kGoodbyeTimeout;
    parts_.observer->on_phase(Fault::Phase::kFinalize);
    // Rails that end because their peer is through have not failed: the figures are those of now.
    reports_ = peers_->rail_reports();
    rail_model_->leave();
    for (const int peer : linked) {
      const bool sent = control_->send(peer, tagged(Message::kGoodbye, {})).is_ok();
      if (!sent) goodbyes_[static_cast<size_t>(peer)] = true;
    }
    return true;
  }
  const bool all = std::all_of(linked.begin(), linked.end(),
                               [this](int peer) { return goodbyes_[static_cast<size_t>(peer)]; });
  if (!(all && rail_model_->ended()) && now < close_deadline_) return false;
  peers_->close(Status(Code::kAborted, "finalized"), now);
  stage_ = Stage::kClosing;
  return true;
}

void SimRank::part(TimeNs now) {
  control_->close({.operations = next_});
  stage_ = Stage::kParting;
  close_deadline_ = now + (error_.is_ok() ? kGoodbyeTimeout : kParting);
}

bool SimRank::step_parting(TimeNs now) {
  if (!control_->closed() && now < close_deadline_) return false;
  stage_ = Stage::kEnded;
  parts_.observer->on_process_end(parts_.rank);
  return true;
}

}  // namespace railccl::simulate
