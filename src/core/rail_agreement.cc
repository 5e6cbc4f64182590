#include "src/core/rail_agreement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "src/core/control_path.h"

namespace railccl {
namespace {

constexpr uint64_t kNone = ~uint64_t{0};
constexpr size_t kEntryBytes = 24;  // of a commit: rank and view
constexpr size_t kMaxEntries = (kMaxControlBytes - 64) / kEntryBytes;

Error malformed() { return error(Code::kPeerFailed, "malformed message on the change of rails"); }

// | kind 4 | fields |
template <typename Kind>
wire::ByteWriter begin_message(Kind kind) {
  wire::ByteWriter writer;
  writer.write<uint32_t>(static_cast<uint32_t>(kind));
  return writer;
}

}  // namespace

RailAgreement::RailAgreement(const RailAgreementOptions& options) : options_(options) {}

bool RailAgreement::is_child(int rank) const {
  return std::find(options_.children.begin(), options_.children.end(), rank) !=
         options_.children.end();
}

void RailAgreement::report(const RailView& view) { take_report(options_.rank, view); }

// Only a rank whose rails are whole again need not be remembered. The picture has room for the
// worst ones of a very large communicator; more of them say nothing new.
void RailAgreement::take_report(int rank, const RailView& view) {
  if (is_root()) {
    if (view.whole()) {
      reports_.erase(rank);
    } else if (reports_.size() < kMaxEntries || reports_.contains(rank)) {
      reports_[rank] = view;
    }
    return;
  }
  wire::ByteWriter writer = begin_message(Kind::kReport);
  writer.write<uint32_t>(static_cast<uint32_t>(rank));
  write(writer, view);
  tell_parent(writer.take());
}

void RailAgreement::leave() {
  if (leaving_) return;
  leaving_ = true;
  take_leave();
}

// The first one that leaves speaks for all.
void RailAgreement::take_leave() {
  if (std::exchange(end_wanted_, true)) return;
  if (!is_root()) return tell_parent(begin_message(Kind::kLeave).take());
  if (!collecting_) take_end();
}

void RailAgreement::take_end() {
  if (std::exchange(ended_, true)) return;
  tell_children(begin_message(Kind::kEnd).take());
}

bool RailAgreement::adopt(uint64_t number) {
  while (!agreed_.empty() && agreed_.front().from_operation <= number) {
    picture_ = std::move(agreed_.front());
    agreed_.pop_front();
  }
  next_from_ = agreed_.empty() ? kNone : agreed_.front().from_operation;
  return true;
}

void RailAgreement::propose() { take_proposal(version_ + 1); }

void RailAgreement::take_proposal(uint64_t version) {
  if (version <= version_) return;
  version_ = version;
  collecting_ = true;
  promised_ = begun_;
  hold_from_ = begun_ + kAhead;
  promises_missing_ = {options_.children.begin(), options_.children.end()};
  wire::ByteWriter writer = begin_message(Kind::kPropose);
  writer.write<uint64_t>(version);
  tell_children(writer.take());
  conclude_promises();
}

void RailAgreement::take_promise(int child, uint64_t version, uint64_t begun) {
  if (version != version_ || !collecting_ || promises_missing_.erase(child) == 0) return;
  promised_ = std::max(promised_, begun);
  conclude_promises();
}

void RailAgreement::conclude_promises() {
  if (!promises_missing_.empty()) return;
  if (is_root()) return commit();
  wire::ByteWriter writer = begin_message(Kind::kPromise);
  writer.write<uint64_t>(version_);
  writer.write<uint64_t>(promised_);
  tell_parent(writer.take());
}

void RailAgreement::commit() {
  committed_ = reports_;
  next_proposal_ = now_ + options_.pause_ns;
  take_commit({.version = version_, .from_operation = promised_ + kAhead, .reduced = reports_});
  if (end_wanted_) take_end();
}

void RailAgreement::take_commit(RailPicture picture) {
  if (!collecting_ || picture.version != version_) return;
  collecting_ = false;
  hold_from_ = kNone;
  wire::ByteWriter writer = begin_message(Kind::kCommit);
  writer.write<uint64_t>(picture.version);
  writer.write<uint64_t>(picture.from_operation);
  for (const auto& [rank, view] : picture.reduced) {
    writer.write<uint32_t>(static_cast<uint32_t>(rank));
    write(writer, view);
  }
  tell_children(writer.take());
  // While no operation begins the newest one is all that counts.
  if (!agreed_.empty() && agreed_.back().from_operation == picture.from_operation) {
    agreed_.pop_back();
  }
  agreed_.push_back(std::move(picture));
  next_from_ = agreed_.front().from_operation;
}

Status RailAgreement::accept(int from, std::span<const std::byte> message) {
  wire::ByteReader reader(message);
  const auto kind = static_cast<Kind>(reader.read<uint32_t>());
  if (!is_root() && from == options_.parent) return accept_from_parent(kind, reader);
  if (is_child(from)) return accept_from_child(from, kind, reader);
  return malformed();
}

Status RailAgreement::accept_from_parent(Kind kind, wire::ByteReader& reader) {
  if (kind == Kind::kEnd) {
    if (!reader.at_end()) return malformed();
    take_end();
    return Status::ok();
  }
  const auto version = reader.read<uint64_t>();
  if (kind == Kind::kPropose && reader.at_end()) {
    take_proposal(version);
    return Status::ok();
  }
  if (kind != Kind::kCommit) return malformed();
  RailPicture picture{.version = version, .from_operation = reader.read<uint64_t>(), .reduced = {}};
  while (reader.left() > 0) {
    const auto rank = reader.read<uint32_t>();
    const RailView view = read_rail_view(reader);
    if (!reader.ok() || rank >= static_cast<uint32_t>(options_.ranks)) return malformed();
    picture.reduced[static_cast<int>(rank)] = view;
  }
  if (!reader.ok()) return malformed();
  take_commit(std::move(picture));
  return Status::ok();
}

Status RailAgreement::accept_from_child(int child, Kind kind, wire::ByteReader& reader) {
  if (kind == Kind::kReport) {
    const auto rank = reader.read<uint32_t>();
    const RailView view = read_rail_view(reader);
    if (!reader.at_end() || rank >= static_cast<uint32_t>(options_.ranks)) return malformed();
    take_report(static_cast<int>(rank), view);
    return Status::ok();
  }
  if (kind == Kind::kPromise) {
    const auto version = reader.read<uint64_t>();
    const auto begun = reader.read<uint64_t>();
    if (!reader.at_end()) return malformed();
    take_promise(child, version, begun);
    return Status::ok();
  }
  if (kind != Kind::kLeave || !reader.at_end()) return malformed();
  take_leave();
  return Status::ok();
}

bool RailAgreement::step(TimeNs now, const Send& send) {
  now_ = now;
  const bool changed = is_root() && !collecting_ && !end_wanted_ && reports_ != committed_;
  if (changed && now >= next_proposal_) propose();
  if (outgoing_.empty()) return false;
  for (const auto& [to, message] : std::exchange(outgoing_, {})) send(to, message);
  return true;
}

TimeNs RailAgreement::next_deadline() const {
  if (!outgoing_.empty()) return 0;
  const bool changed = is_root() && !collecting_ && !end_wanted_ && reports_ != committed_;
  return changed ? next_proposal_ : kNever;
}

void RailAgreement::tell_children(const std::vector<std::byte>& message) {
  for (const int child : options_.children) outgoing_.emplace_back(child, message);
}

void RailAgreement::tell_parent(std::vector<std::byte> message) {
  outgoing_.emplace_back(options_.parent, std::move(message));
}

std::string RailAgreement::describe() const {
  if (!collecting_) return "nothing to agree on";
  if (promises_missing_.empty()) {
    return fmt::format("version {} of the rails: waits for rank {}", version_, options_.parent);
  }
  return fmt::format("version {} of the rails: waits for rank {} and those below", version_,
                     fmt::join(promises_missing_, ", "));
}

}  // namespace railccl
