#include "src/core/control_path_gather.h"

#include <algorithm>

#include "src/core/control_path.h"
#include "src/core/framing.h"
#include "transport/byte_io.h"

namespace railccl::boot {
namespace {

constexpr size_t kEntryHeader = 8;  // rank, length
constexpr size_t kFrameHeader = 16;

using OptionalBlobs = std::vector<std::optional<std::vector<std::byte>>>;

// Calls `emit` with frames: kind, 3 zero bytes, number of entries, sequence; then per entry rank,
// length, bytes. The frame in which the last rank's entry stands ends a table.
class EntryFrames {
 public:
  EntryFrames(GatherFrame kind, uint64_t sequence,
              const std::function<void(std::span<const std::byte>)>& emit)
      : kind_(kind), sequence_(sequence), emit_(emit) {}

  void add(int rank, std::span<const std::byte> blob) {
    if (kFrameHeader + body_bytes_ + kEntryHeader + blob.size() > kMaxFrameBytes) flush();
    body_.write<uint32_t>(static_cast<uint32_t>(rank));
    body_.write<uint32_t>(static_cast<uint32_t>(blob.size()));
    body_.write_bytes(blob);
    body_bytes_ += kEntryHeader + blob.size();
    ++entries_;
  }

  void flush() {
    if (entries_ == 0) return;
    wire::ByteWriter frame;
    frame.write<uint32_t>(static_cast<uint32_t>(kind_));
    frame.write<uint32_t>(entries_);
    frame.write<uint64_t>(sequence_);
    frame.write_bytes(body_.take());
    emit_(frame.take());
    body_ = wire::ByteWriter();
    body_bytes_ = 0;
    entries_ = 0;
  }

 private:
  GatherFrame kind_;
  uint64_t sequence_;
  const std::function<void(std::span<const std::byte>)>& emit_;
  wire::ByteWriter body_;
  size_t body_bytes_ = 0;
  uint32_t entries_ = 0;
};

Status read_entries(wire::ByteReader& reader, uint32_t entries, OptionalBlobs& into) {
  const auto malformed = [] { return error(Code::kPeerFailed, "malformed gather frame"); };
  for (uint32_t i = 0; i < entries; ++i) {
    const auto rank = reader.read<uint32_t>();
    const auto bytes = reader.read<uint32_t>();
    if (!reader.ok() || rank >= into.size() || bytes > kMaxGatherBytes) return malformed();
    std::vector<std::byte> blob = reader.read_bytes(bytes);
    if (!reader.ok()) return malformed();
    if (!into[rank]) into[rank] = std::move(blob);
  }
  return reader.at_end() ? Status::ok() : malformed();
}

bool all_there(const OptionalBlobs& blobs) {
  return std::all_of(blobs.begin(), blobs.end(), [](const auto& blob) { return blob.has_value(); });
}

}  // namespace

Result<GatherBook::Gather*> GatherBook::find_or_open(uint64_t sequence) {
  const auto found = gathers_.find(sequence);
  if (found != gathers_.end()) return &found->second;
  const auto open = std::count_if(gathers_.begin(), gathers_.end(),
                                  [](const auto& entry) { return !entry.second.complete; });
  if (static_cast<size_t>(open) >= kMaxOpen) {
    return error(Code::kInvalidUsage, "gather {}: {} others are still open", sequence, open);
  }
  Gather& gather = gathers_[sequence];
  gather.blobs.resize(static_cast<size_t>(ranks_));
  return &gather;
}

Status GatherBook::begin(uint64_t sequence, std::span<const std::byte> mine) {
  if (mine.size() > kMaxGatherBytes) {
    return error(Code::kInvalidArgument, "gather {}: a blob of {} bytes, at most {} are allowed",
                 sequence, mine.size(), kMaxGatherBytes);
  }
  RAILCCL_ASSIGN(Gather * gather, find_or_open(sequence));
  if (gather->begun) return error(Code::kInvalidUsage, "gather {} was begun already", sequence);
  gather->begun = true;
  gather->blobs[static_cast<size_t>(self_)].emplace(mine.begin(), mine.end());
  drop_old();
  return Status::ok();
}

void GatherBook::drop_old() {
  const auto is_complete = [](const auto& entry) { return entry.second.complete; };
  auto complete = std::count_if(gathers_.begin(), gathers_.end(), is_complete);
  for (auto entry = gathers_.begin();
       entry != gathers_.end() && static_cast<size_t>(complete) > kMaxComplete;) {
    const bool drop = entry->second.complete && entry->second.begun;
    complete -= drop ? 1 : 0;
    entry = drop ? gathers_.erase(entry) : std::next(entry);
  }
}

const GatherBook::Blobs* GatherBook::poll(uint64_t sequence) const {
  const auto found = gathers_.find(sequence);
  return found != gathers_.end() && found->second.complete && found->second.begun
             ? &found->second.table
             : nullptr;
}

Status GatherBook::accept(int from, std::span<const std::byte> payload) {
  wire::ByteReader reader(payload);
  const auto kind = reader.read<uint32_t>();
  const auto entries = reader.read<uint32_t>();
  const auto sequence = reader.read<uint64_t>();
  const bool is_table = kind == static_cast<uint32_t>(GatherFrame::kTable);
  if (!reader.ok() || (!is_table && kind != static_cast<uint32_t>(GatherFrame::kContribution))) {
    return error(Code::kPeerFailed, "malformed gather frame");
  }
  RAILCCL_ASSIGN(Gather * gather, find_or_open(sequence));
  if (gather->complete) return Status::ok();
  if (!is_table) return read_entries(reader, entries, gather->blobs);
  if (gather->table_from != from) {
    gather->table_from = from;
    gather->arriving.assign(static_cast<size_t>(ranks_), std::nullopt);
  }
  RAILCCL_TRY(read_entries(reader, entries, gather->arriving));
  if (!all_there(gather->arriving)) return Status::ok();
  gather->blobs = std::move(gather->arriving);
  gather->have_table.insert(from);
  conclude(*gather);
  return Status::ok();
}

// The table is what `blobs` holds, with nothing for who gave nothing.
void GatherBook::conclude(Gather& gather) {
  gather.table.resize(static_cast<size_t>(ranks_));
  for (size_t rank = 0; rank < gather.table.size(); ++rank) {
    if (gather.blobs[rank]) gather.table[rank] = std::move(*gather.blobs[rank]);
  }
  gather.blobs.clear();
  gather.arriving.clear();
  gather.complete = true;
}

void GatherBook::advance(const Membership& members, const IsUp& is_up, const Send& send) {
  for (auto& [sequence, gather] : gathers_) advance_one(sequence, gather, members, is_up, send);
}

void GatherBook::advance_one(uint64_t sequence, Gather& gather, const Membership& members,
                             const IsUp& is_up, const Send& send) {
  int to = members.parent();
  const std::function<void(std::span<const std::byte>)> emit = [&](auto payload) {
    send(to, payload);
  };
  if (!gather.complete && gather.begun) {
    const bool ready =
        std::all_of(members.subtree().begin(), members.subtree().end(), [&](int rank) {
          return gather.blobs[static_cast<size_t>(rank)].has_value() || members.gone(rank);
        });
    if (ready && to < 0) conclude(gather);
    if (ready && to >= 0 && to != gather.contributed_to && is_up(to)) {
      gather.contributed_to = to;
      EntryFrames frames(GatherFrame::kContribution, sequence, emit);
      for (int rank = 0; rank < ranks_; ++rank) {
        const auto& blob = gather.blobs[static_cast<size_t>(rank)];
        if (blob) frames.add(rank, *blob);
      }
      frames.flush();
    }
  }
  if (!gather.complete) return;
  std::vector<int> neighbours = members.children();
  if (members.parent() >= 0) neighbours.push_back(members.parent());
  for (const int neighbour : neighbours) {
    if (!is_up(neighbour) || !gather.have_table.insert(neighbour).second) continue;
    to = neighbour;
    EntryFrames frames(GatherFrame::kTable, sequence, emit);
    for (int rank = 0; rank < ranks_; ++rank) frames.add(rank, gather.table[size_t(rank)]);
    frames.flush();
  }
}

}  // namespace railccl::boot
