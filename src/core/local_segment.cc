#include "src/core/local_segment.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "src/base/mutex.h"

namespace railccl {
namespace {

constexpr uint64_t kMagic = 0x4c43434c49415201;  // "\x01RAILCCL", little endian
constexpr uint32_t kVersion = 2;

using Token = std::array<uint64_t, 2>;

// The segments that this process has mapped, so that its threads share one mapping.
class OpenSegments {
 public:
  static OpenSegments& instance() {
    static OpenSegments* const segments = new OpenSegments;  // outlives every static destructor
    return *segments;
  }
  void add(const Token& token, const std::shared_ptr<LocalSegment>& segment) {
    const MutexLock guard(mutex_);
    std::erase_if(segments_, [](const auto& entry) { return entry.second.expired(); });
    segments_[token] = segment;
  }
  std::shared_ptr<LocalSegment> find(const Token& token) {
    const MutexLock guard(mutex_);
    const auto found = segments_.find(token);
    return found == segments_.end() ? nullptr : found->second.lock();
  }

 private:
  Mutex mutex_;
  std::map<Token, std::weak_ptr<LocalSegment>> segments_ RAILCCL_GUARDED_BY(mutex_);
};

Token token_of(const LocalSegmentName& name) { return {name.token[0], name.token[1]}; }

Error not_the_segment(const LocalSegmentName& name, std::string_view finding) {
  return error(Code::kSystemError,
               "file {} of process {} is not the shared memory of this node's ranks ({}): they are "
               "probably in different PID namespaces (containers); share the PID namespace, give "
               "them different RAILCCL_HOSTID, or set RAILCCL_SHM_DISABLE=1",
               name.fd, name.pid, finding);
}

Status check_rank_count(int ranks) {
  if (ranks >= 1 && ranks <= kMaxLocalRanks) return Status::ok();
  return error(Code::kInvalidUsage,
               "a node with {} ranks: 1 to {} can share memory; give groups of them different "
               "RAILCCL_HOSTID",
               ranks, kMaxLocalRanks);
}

}  // namespace

Result<std::shared_ptr<LocalSegment>> LocalSegment::create(int ranks, size_t scratch_bytes) {
  RAILCCL_TRY(check_rank_count(ranks));
  const SegmentLayout layout(ranks, scratch_bytes);
  Token token{};
  if (getrandom(token.data(), sizeof token, 0) != static_cast<ssize_t>(sizeof token)) {
    return system_error(errno, "getrandom for the token of shared memory");
  }
  RAILCCL_ASSIGN(UniqueFd file, create_memory_file("railccl-domain", layout.total));
  RAILCCL_ASSIGN(SharedMapping memory, SharedMapping::map(file, layout.total));
  std::shared_ptr<LocalSegment> segment(
      new LocalSegment(std::move(file), std::move(memory), layout));
  SegmentHeader& header = segment->header();
  header.magic = kMagic;
  header.version = kVersion;
  header.ranks = static_cast<uint32_t>(ranks);
  header.bytes = layout.total;
  header.scratch_bytes = layout.scratch_stride;
  header.token[0] = token[0];
  header.token[1] = token[1];
  OpenSegments::instance().add(token, segment);
  return segment;
}

Result<std::shared_ptr<LocalSegment>> LocalSegment::open(const LocalSegmentName& name, int ranks,
                                                         size_t scratch_bytes) {
  RAILCCL_TRY(check_rank_count(ranks));
  std::shared_ptr<LocalSegment> segment = OpenSegments::instance().find(token_of(name));
  if (segment == nullptr) {
    RAILCCL_ASSIGN(segment, open_other_process(name, SegmentLayout(ranks, scratch_bytes)));
    OpenSegments::instance().add(token_of(name), segment);
  }
  RAILCCL_TRY(segment->check_shape(ranks, scratch_bytes));
  return segment;
}

Result<std::shared_ptr<LocalSegment>> LocalSegment::open_other_process(
    const LocalSegmentName& name, const SegmentLayout& layout) {
  RAILCCL_ASSIGN(UniqueFd file,
                 open_memory_file(name.pid, name.fd, "the shared memory of this node's ranks"));
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return system_error(errno, "fstat of shared memory");
  const auto bytes = static_cast<size_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || bytes < kPageBytes) {
    return not_the_segment(name, "not shared memory at all");
  }
  // Mapped as large as it is, so that no access can fault before its header was checked.
  RAILCCL_ASSIGN(SharedMapping memory, SharedMapping::map(file, bytes));
  std::shared_ptr<LocalSegment> segment(
      new LocalSegment(std::move(file), std::move(memory), layout));
  const SegmentHeader& header = segment->header();
  if (header.magic != kMagic) return not_the_segment(name, "no header of RailCCL");
  if (header.token[0] != name.token[0] || header.token[1] != name.token[1]) {
    return not_the_segment(name, "the token differs");
  }
  if (header.version != kVersion || header.bytes != bytes) {
    return error(Code::kInvalidUsage,
                 "the shared memory of process {} is of another version of RailCCL ({}, this is "
                 "{}): all ranks must load the same library",
                 name.pid, header.version, kVersion);
  }
  return segment;
}

Status LocalSegment::check_shape(int ranks, size_t scratch_bytes) const {
  const SegmentLayout mine(ranks, scratch_bytes);
  if (header().ranks == static_cast<uint32_t>(ranks) && header().bytes == mine.total) {
    return Status::ok();
  }
  return error(Code::kMismatch,
               "the shared memory of this node is for {} ranks with {} bytes of scratch each; this "
               "rank expects {} and {}: the same settings are needed on all ranks",
               header().ranks, header().scratch_bytes, ranks, mine.scratch_stride);
}

LocalSegmentName LocalSegment::name() const {
  return {.pid = current_pid(), .fd = file_.get(), .token = {header().token[0], header().token[1]}};
}

std::span<std::atomic<uint32_t>> LocalSegment::doorbells() const {
  return {at<std::atomic<uint32_t>>(layout_.doorbells), static_cast<size_t>(layout_.ranks)};
}

RankState& LocalSegment::state(int rank) const { return at<RankState>(layout_.states)[rank]; }

std::atomic<uint8_t>* LocalSegment::hints(int receiver) const {
  return at<std::atomic<uint8_t>>(layout_.hints +
                                  static_cast<size_t>(receiver) * layout_.hint_bytes);
}

NotificationRing& LocalSegment::ring(int receiver, int sender) const {
  return at<NotificationRing>(layout_.rings +
                              static_cast<size_t>(receiver) * layout_.ring_stride)[sender];
}

BoardSlot* LocalSegment::board(int rank) const {
  return at<BoardSlot>(layout_.boards + static_cast<size_t>(rank) * kPageBytes);
}

SmallArea* LocalSegment::small_area(int rank) const { return &at<SmallArea>(layout_.smalls)[rank]; }

std::byte* LocalSegment::scratch(int rank) const {
  return memory_.data() + layout_.scratch + static_cast<size_t>(rank) * layout_.scratch_stride;
}

}  // namespace railccl
