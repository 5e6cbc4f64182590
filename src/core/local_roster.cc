#include "src/core/local_roster.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>

#include "src/core/local_attach.h"

namespace railccl {
namespace {

constexpr uint32_t kPresent = 1;
constexpr uint32_t kVoted = 2;

constexpr uint32_t kReachesAll = 1;   // opens the memory and rings the doorbell of every other
constexpr uint32_t kAttachesAll = 2;  // cross-memory attach

uint64_t network_namespace() {
  struct stat status {};
  return stat("/proc/self/ns/net", &status) == 0 ? status.st_ino : 0;
}

bool same_file(const UniqueFd& a, const UniqueFd& b) {
  struct stat first {};
  struct stat second {};
  return fstat(a.get(), &first) == 0 && fstat(b.get(), &second) == 0 &&
         first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

}  // namespace

LocalRoster::LocalRoster(std::shared_ptr<LocalSegment> segment, int self, std::vector<int> ranks)
    : segment_(std::move(segment)),
      self_(self),
      ranks_(std::move(ranks)),
      probe_(std::make_unique<uint64_t>()) {
  allow_attach();
  prefer_own_node(segment_->scratch(self_), segment_->layout().scratch_stride);
  RankState& state = segment_->state(self_);
  *probe_ = segment_->header().token[0] + static_cast<uint64_t>(self_);
  state.pid = current_pid();
  state.segment_fd = segment_->file().get();
  state.network_namespace = network_namespace();
  state.probe_address = reinterpret_cast<uint64_t>(probe_.get());
  state.probe_value = *probe_;
  const CoreMask cores = current_cores();
  std::copy(cores.begin(), cores.end(), state.cores);
  state.stage.store(kPresent, std::memory_order_release);
}

LocalRoster::~LocalRoster() = default;

Result<bool> LocalRoster::settle() {
  if (settled_) return true;
  if (!voted_) {
    if (!all_at(kPresent)) return false;
    voted_ = true;
    RAILCCL_TRY(vote());
  }
  if (!all_at(kVoted)) return false;
  RAILCCL_TRY(count_votes());
  settled_ = true;
  return true;
}

bool LocalRoster::all_at(uint32_t stage) const {
  for (int i = 0; i < segment_->layout().ranks; ++i) {
    if (segment_->state(i).stage.load(std::memory_order_acquire) < stage) return false;
  }
  return true;
}

Status LocalRoster::vote() {
  Status reached;
  bool attached = true;
  for (int i = 0; i < segment_->layout().ranks; ++i) {
    if (i == self_) continue;
    if (reached) reached = check_peer(i);
    attached = attached && try_attach(i);
  }
  RankState& state = segment_->state(self_);
  state.votes = (reached ? kReachesAll : 0) | (attached ? kAttachesAll : 0);
  state.stage.store(kVoted, std::memory_order_release);
  return reached;
}

Status LocalRoster::check_peer(int index) const {
  const RankState& mine = segment_->state(self_);
  const RankState& peer = segment_->state(index);
  if (peer.network_namespace != mine.network_namespace) {
    return error(Code::kInvalidUsage,
                 "ranks {} and {} share memory but are in different network namespaces "
                 "(containers), so one cannot wake the other: give them different RAILCCL_HOSTID, "
                 "or set RAILCCL_SHM_DISABLE=1",
                 ranks_[static_cast<size_t>(self_)], ranks_[static_cast<size_t>(index)]);
  }
  if (peer.pid == mine.pid) return Status::ok();
  const std::string what =
      fmt::format("the shared memory of rank {}", ranks_[static_cast<size_t>(index)]);
  RAILCCL_ASSIGN(const UniqueFd file, open_memory_file(peer.pid, peer.segment_fd, what));
  if (same_file(file, segment_->file())) return Status::ok();
  return error(Code::kSystemError,
               "process {} is not rank {} as seen from rank {}: they are in different PID "
               "namespaces (containers); share the PID namespace, give them different "
               "RAILCCL_HOSTID, or set RAILCCL_SHM_DISABLE=1",
               peer.pid, ranks_[static_cast<size_t>(index)], ranks_[static_cast<size_t>(self_)]);
}

bool LocalRoster::try_attach(int index) const {
  const RankState& peer = segment_->state(index);
  if (peer.pid == current_pid()) return true;
  uint64_t value = 0;
  auto* const bytes = reinterpret_cast<std::byte*>(&value);
  if (!attach_read(peer.pid, peer.probe_address, bytes, sizeof value)) return false;
  // Writing the value that is there already tries the other direction and changes nothing.
  return value == peer.probe_value &&
         attach_write(peer.pid, peer.probe_address, bytes, sizeof value).is_ok();
}

Status LocalRoster::count_votes() {
  uint32_t common = kReachesAll | kAttachesAll;
  CoreMask together{};
  for (int i = 0; i < segment_->layout().ranks; ++i) {
    const RankState& state = segment_->state(i);
    common &= state.votes;
    for (size_t word = 0; word < together.size(); ++word) together[word] |= state.cores[word];
    if ((state.votes & kReachesAll) == 0) {
      return error(Code::kSystemError,
                   "rank {} cannot reach the memory of another rank of this node; its own message "
                   "says why; RAILCCL_SHM_DISABLE=1 does without shared memory",
                   ranks_[static_cast<size_t>(i)]);
    }
  }
  can_attach_ = (common & kAttachesAll) != 0;
  cores_ = std::max(1, count_cores(together));
  if (const int granted = granted_cores(); granted != 0) cores_ = std::min(cores_, granted);
  return Status::ok();
}

}  // namespace railccl
