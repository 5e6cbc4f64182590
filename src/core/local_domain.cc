#include "src/core/local_domain.h"

#include <cstring>

#include "src/core/local_attach.h"
#include "src/core/local_board.h"
#include "src/core/local_doorbell.h"
#include "src/core/local_heap.h"
#include "src/core/local_notifications.h"
#include "src/core/local_peer_memory.h"
#include "src/core/local_presence.h"
#include "src/core/local_roster.h"
#include "src/core/local_segment.h"
#include "src/core/local_small.h"

namespace railccl {
namespace {

class SharedMemoryDomain final : public LocalDomain {
 public:
  SharedMemoryDomain(std::shared_ptr<LocalSegment> segment, const LocalDomainOptions& options)
      : segment_(std::move(segment)),
        roster_(segment_, options.index, options.ranks),
        doorbell_(segment_->doorbells(), options.index, segment_->header().token),
        notifications_(segment_, options.index, doorbell_),
        board_(segment_, options.index, doorbell_),
        small_(segment_, options.index, doorbell_, board_),
        presence_(segment_, options.index) {}

  LocalSegmentName name() const override { return segment_->name(); }
  Result<bool> settle() override { return roster_.settle(); }
  int cores() const override { return roster_.cores(); }

  bool publish(const ReadyRecord& ready) override { return board_.publish(ready); }
  const ReadyRecord* ready(int index, uint64_t sequence) override {
    return board_.ready(index, sequence);
  }
  void finish(uint64_t sequence) override { board_.finish(sequence); }

  std::byte* map(int index, const BufferHandle& handle) override;
  bool can_attach() const override { return roster_.can_attach(); }
  Status copy_from(int index, const BufferHandle& handle, uint64_t offset, std::byte* dst,
                   size_t bytes) override;
  Status copy_to(int index, const BufferHandle& handle, uint64_t offset, const std::byte* src,
                 size_t bytes) override;
  std::byte* scratch(int index) override { return segment_->scratch(index); }

  void enter() override { presence_.enter(); }
  void leave() override { presence_.leave(); }
  void withdraw() override { presence_.withdraw(); }
  std::vector<int> others_inside() const override { return presence_.others_inside(); }
  void forget(int index) override { presence_.forget(index); }

  bool notify(int index, uint64_t tag) override { return notifications_.notify(index, tag); }
  bool poll(LocalNotificationSink& sink) override { return notifications_.poll(sink); }

  void small_begin(const Small& call) override { small_.begin(call); }
  Progress small_step() override { return small_.step(); }
  SmallMismatch small_mismatch() const override { return small_.mismatch(); }
  std::optional<uint64_t> small_called(int index, uint64_t sequence) const override {
    return small_.called(index, sequence);
  }

  void prepare_sleep(SleepOn how) override { doorbell_.prepare_sleep(how); }
  void sleep(TimeNs timeout_ns) override { doorbell_.sleep(timeout_ns); }
  void finish_sleep() override { doorbell_.finish_sleep(); }
  Result<int> wake_fd() override { return doorbell_.descriptor(); }
  void ring_all() override { doorbell_.ring_all(); }
  void raise_abort(uint32_t value) override {
    uint32_t none = 0;
    segment_->header().abort.compare_exchange_strong(none, value, std::memory_order_acq_rel);
  }
  uint32_t aborted() const override {
    return segment_->header().abort.load(std::memory_order_acquire);
  }

 private:
  Result<std::byte*> reach(int index, const BufferHandle& handle);

  std::shared_ptr<LocalSegment> segment_;
  LocalRoster roster_;
  LocalDoorbell doorbell_;
  LocalNotifications notifications_;
  LocalBoard board_;
  LocalSmall small_;
  LocalPeerMemory peer_memory_;
  LocalPresence presence_;
};

// What map() answers for a buffer of zero bytes.
std::byte no_bytes{};

// A pointer; null if only cross-memory attach gets there; an error if nothing does.
Result<std::byte*> SharedMemoryDomain::reach(int index, const BufferHandle& handle) {
  switch (handle.kind) {
    case BufferHandle::Kind::kNone:
      return &no_bytes;
    case BufferHandle::Kind::kProcess:
      return handle.pid == current_pid() ? reinterpret_cast<std::byte*>(handle.offset) : nullptr;
    case BufferHandle::Kind::kShared: {
      Result<std::byte*> mapped = peer_memory_.map(handle);
      if (!mapped) {
        return Error(mapped.error().with_context(fmt::format("buffer of local rank {}", index)));
      }
      return mapped;
    }
    case BufferHandle::Kind::kDevice:
      break;
  }
  return error(Code::kInternalError,
               "local rank {} published a buffer of kind {}, which is not for map()", index,
               static_cast<uint32_t>(handle.kind));
}

std::byte* SharedMemoryDomain::map(int index, const BufferHandle& handle) {
  return reach(index, handle).value_or(nullptr);
}

Status check_range(const BufferHandle& handle, uint64_t offset, size_t bytes) {
  if (offset <= handle.bytes && bytes <= handle.bytes - offset) return Status::ok();
  return error(Code::kInternalError, "{} bytes at {} are outside a buffer of {} bytes", bytes,
               offset, handle.bytes);
}

Status SharedMemoryDomain::copy_from(int index, const BufferHandle& handle, uint64_t offset,
                                     std::byte* dst, size_t bytes) {
  RAILCCL_TRY(check_range(handle, offset, bytes));
  RAILCCL_ASSIGN(const std::byte* source, reach(index, handle));
  if (source == nullptr) return attach_read(handle.pid, handle.offset + offset, dst, bytes);
  if (bytes != 0) std::memcpy(dst, source + offset, bytes);
  return Status::ok();
}

Status SharedMemoryDomain::copy_to(int index, const BufferHandle& handle, uint64_t offset,
                                   const std::byte* src, size_t bytes) {
  RAILCCL_TRY(check_range(handle, offset, bytes));
  RAILCCL_ASSIGN(std::byte * target, reach(index, handle));
  if (target == nullptr) return attach_write(handle.pid, handle.offset + offset, src, bytes);
  if (bytes != 0) std::memcpy(target + offset, src, bytes);
  return Status::ok();
}

Status check_options(const LocalDomainOptions& options) {
  const size_t ranks = options.ranks.size();
  if (options.index >= 0 && static_cast<size_t>(options.index) < ranks) return Status::ok();
  return error(Code::kInternalError, "local rank {} of {}", options.index, ranks);
}

}  // namespace

Result<std::unique_ptr<LocalDomain>> LocalDomain::create(const LocalDomainOptions& options) {
  RAILCCL_TRY(check_options(options));
  RAILCCL_ASSIGN(auto segment, LocalSegment::create(static_cast<int>(options.ranks.size()),
                                                    options.scratch_bytes));
  return std::make_unique<SharedMemoryDomain>(std::move(segment), options);
}

Result<std::unique_ptr<LocalDomain>> LocalDomain::attach(const LocalDomainOptions& options,
                                                         const LocalSegmentName& name) {
  RAILCCL_TRY(check_options(options));
  RAILCCL_ASSIGN(auto segment, LocalSegment::open(name, static_cast<int>(options.ranks.size()),
                                                  options.scratch_bytes));
  return std::make_unique<SharedMemoryDomain>(std::move(segment), options);
}

BufferHandle LocalDomain::handle_of(const void* address, size_t bytes) {
  if (bytes == 0) return {};
  if (const auto place = find_in_heap(address, bytes)) {
    return {.kind = BufferHandle::Kind::kShared,
            .pid = place->pid,
            .segment = place->segment,
            .offset = place->offset,
            .bytes = bytes};
  }
  return {.kind = BufferHandle::Kind::kProcess,
          .pid = current_pid(),
          .offset = reinterpret_cast<uint64_t>(address),
          .bytes = bytes};
}

}  // namespace railccl
