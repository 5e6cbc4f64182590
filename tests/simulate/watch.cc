#include "tests/simulate/watch.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/transport/forwarding_rail.h"
#include "transport/wire.h"

namespace railccl::simulate {

uint64_t endpoint_number(const std::vector<std::byte>& address) {
  uint64_t number = 0;
  if (address.size() == sizeof number) std::memcpy(&number, address.data(), sizeof number);
  return number;
}

// --- Watch ---------------------------------------------------------------------------------------

void Watch::add_buffer(const std::byte* address, size_t bytes, int rank) {
  buffers_[address] = {.bytes = bytes, .rank = rank, .open = false};
}

void Watch::open_buffer(const std::byte* address, bool open) {
  const auto found = buffers_.find(address);
  if (found != buffers_.end()) found->second.open = open;
}

void Watch::on_opened(uint64_t number) { ends_[number] = End{}; }
void Watch::on_connect(uint64_t number, uint64_t peer) { ends_[number].peer = peer; }

bool Watch::fenced(uint64_t number) const {
  const auto found = ends_.find(number);
  return found == ends_.end() || found->second.fenced;
}

void Watch::on_put(uint64_t number, uint64_t link, const Put& put) {
  End& end = ends_[number];
  ++end.outstanding;
  if (!put.notify) return;
  const auto header = wire::decode_header(put.notification);
  if (!header) {
    judge_.violation(now(), "a put with a note of no kind");
    return;
  }
  uint64_t offset = 0;
  if (header->kind == wire::NoteKind::kChunk) {
    offset = wire::decode_chunk(put.notification, put.bytes).offset;
  } else if (header->kind != wire::NoteKind::kMessage) {
    return;
  }
  const uint64_t item = static_cast<uint64_t>(header->kind) << 32 | header->sequence;
  // A chunk without bytes, and a message, are one thing that is carried.
  const bool bytes = header->kind == wire::NoteKind::kChunk && put.bytes > 0;
  const Part carried{.begin = offset, .end = offset + (bytes ? put.bytes : 1), .carrier = number};
  const uint64_t again = carry(parts_[{link, item}], carried, *header);
  if (bytes) bytes_posted_[link] += put.bytes - again;
}

// Answers how many of its bytes had been carried before: chunks may go again in parts.
uint64_t Watch::carry(std::vector<Part>& parts, const Part& carried,
                      const wire::NoteHeader& header) {
  uint64_t again = 0;
  std::vector<Part> now_carried{carried};
  for (const Part& old : parts) {
    const uint64_t begin = std::max(old.begin, carried.begin);
    const uint64_t end = std::min(old.end, carried.end);
    if (begin >= end) {
      now_carried.push_back(old);
      continue;
    }
    again += end - begin;
    check_fenced(old, header);
    if (old.begin < begin) now_carried.push_back({old.begin, begin, old.carrier});
    if (end < old.end) now_carried.push_back({end, old.end, old.carrier});
  }
  parts = std::move(now_carried);
  if (again > 0) {
    ++posted_again_;
    posted_again_at_ = now();
    on_phase_(Fault::Phase::kReplay);
  }
  return again;
}

void Watch::check_fenced(const Part& old, const wire::NoteHeader& header) {
  const auto carrier = ends_.find(old.carrier);
  if (fenced(old.carrier) && (carrier == ends_.end() || fenced(carrier->second.peer))) return;
  judge_.violation(
      now(),
      "{} {} was posted again (bytes {} to {}) before the endpoint that had carried it "
      "was fenced on both sides",
      header.kind == wire::NoteKind::kChunk ? "a chunk of put" : "message", header.sequence,
      old.begin, old.end);
}

uint64_t Watch::bytes_posted(uint64_t link) const {
  const auto found = bytes_posted_.find(link);
  return found == bytes_posted_.end() ? 0 : found->second;
}

void Watch::on_put_done(uint64_t number) {
  End& end = ends_[number];
  if (end.outstanding == 0) judge_.violation(now(), "a put completed twice");
  --end.outstanding;
}

void Watch::on_fence_begun(uint64_t number) {
  End& end = ends_[number];
  if (std::exchange(end.fencing, true)) return;
  ++fences_;
  on_phase_(Fault::Phase::kFence);
}

void Watch::on_fenced(uint64_t number) {
  End& end = ends_[number];
  if (end.fencing && !end.fenced) --fences_;
  if (end.outstanding != 0) {
    judge_.violation(now(), "an endpoint was closed with {} puts that had not completed",
                     end.outstanding);
  }
  end.fenced = true;
}

void Watch::on_landing(const SimLanding& landing) {
  if (fenced(landing.to)) {
    judge_.violation(now(), "{} bytes landed over an endpoint after its fence", landing.bytes);
  }
  auto next = buffers_.upper_bound(landing.address);
  if (next == buffers_.begin()) return;
  const auto& [begin, buffer] = *--next;
  if (landing.address >= begin + buffer.bytes || buffer.open) return;
  judge_.violation(now(), "{} bytes landed in a buffer that rank {}'s user has back", landing.bytes,
                   buffer.rank);
}

// --- WatchRail -----------------------------------------------------------------------------------

namespace {

constexpr uint64_t kTagsPerLink = 256;

class WatchRail final : public testing_support::ForwardingRail, private EventSink {
 public:
  WatchRail(std::unique_ptr<Rail> inner, Watch& watch, uint64_t link_base)
      : ForwardingRail(std::move(inner)), watch_(watch), link_base_(link_base) {}

  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t tag) override;
  bool progress(TimeNs now, EventSink& sink) override {
    sink_ = &sink;
    return ForwardingRail::progress(now, *this);
  }

 private:
  void on_event(const RailEvent& event) override {
    const auto found = numbers_.find(event.endpoint_tag);
    if (found != numbers_.end()) {
      if (event.kind == RailEvent::Kind::kPutDone) watch_.on_put_done(found->second);
      if (event.kind == RailEvent::Kind::kClosed) watch_.on_fenced(found->second);
    }
    sink_->on_event(event);
  }

  Watch& watch_;
  uint64_t link_base_;
  EventSink* sink_ = nullptr;
  std::unordered_map<uint64_t, uint64_t> numbers_;  // by tag, of its present endpoint
};

class WatchEndpoint final : public testing_support::ForwardingEndpoint {
 public:
  WatchEndpoint(std::unique_ptr<Endpoint> inner, Watch& watch, uint64_t link)
      : ForwardingEndpoint(std::move(inner)),
        watch_(watch),
        link_(link),
        number_(endpoint_number(address())) {
    watch_.on_opened(number_);
  }
  Status connect(const std::vector<std::byte>& peer_address) override {
    watch_.on_connect(number_, endpoint_number(peer_address));
    return ForwardingEndpoint::connect(peer_address);
  }
  Status put(const Put& put) override {
    RAILCCL_TRY(ForwardingEndpoint::put(put));
    watch_.on_put(number_, link_, put);
    return Status::ok();
  }
  void close() override {
    watch_.on_fence_begun(number_);
    ForwardingEndpoint::close();
  }
  uint64_t number() const { return number_; }

 private:
  Watch& watch_;
  uint64_t link_;
  uint64_t number_;
};

Result<std::unique_ptr<Endpoint>> WatchRail::open_endpoint(uint64_t tag) {
  RAILCCL_ASSIGN(std::unique_ptr<Endpoint> inner, ForwardingRail::open_endpoint(tag));
  auto endpoint =
      std::make_unique<WatchEndpoint>(std::move(inner), watch_, link_base_ + tag / kTagsPerLink);
  numbers_[tag] = endpoint->number();
  return endpoint;
}

}  // namespace

std::unique_ptr<Rail> watch_rail(std::unique_ptr<Rail> inner, Watch& watch, uint64_t link_base) {
  return std::make_unique<WatchRail>(std::move(inner), watch, link_base);
}

}  // namespace railccl::simulate
