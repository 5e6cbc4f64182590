#include "src/core/local_notifications.h"

#include <bit>

namespace railccl {

static_assert(std::endian::native == std::endian::little, "byte i of a hint word is sender i");

LocalNotifications::LocalNotifications(std::shared_ptr<LocalSegment> segment, int self,
                                       LocalDoorbell& doorbell)
    : segment_(std::move(segment)),
      self_(self),
      doorbell_(doorbell),
      outgoing_(static_cast<size_t>(segment_->layout().ranks)),
      taken_(static_cast<size_t>(segment_->layout().ranks)),
      seen_((static_cast<size_t>(segment_->layout().ranks) + 7) / 8),
      hint_words_(reinterpret_cast<const uint64_t*>(segment_->hints(self))) {}

bool LocalNotifications::notify(int rank, uint64_t tag) {
  Outgoing& out = outgoing_[static_cast<size_t>(rank)];
  NotificationRing& ring = segment_->ring(rank, self_);
  if (out.sent - out.taken == NotificationRing::kTags) {
    out.taken = ring.taken.load(std::memory_order_acquire);
    if (out.sent - out.taken == NotificationRing::kTags) return false;
  }
  ring.tags[out.sent % NotificationRing::kTags] = tag;
  ++out.sent;
  segment_->hints(rank)[self_].store(static_cast<uint8_t>(out.sent), std::memory_order_release);
  doorbell_.ring(rank);
  return true;
}

bool LocalNotifications::poll(LocalNotificationSink& sink) {
  bool any = false;
  for (size_t word = 0; word < seen_.size(); ++word) {
    // Only says where to look; drain() orders the data by the sender's own byte.
    const uint64_t now = __atomic_load_n(hint_words_ + word, __ATOMIC_RELAXED);
    uint64_t changed = now ^ seen_[word];
    while (changed != 0) {
      const int byte = std::countr_zero(changed) / 8;
      changed &= ~(uint64_t{0xff} << (8 * byte));
      any |= drain(static_cast<int>(word) * 8 + byte, sink);
    }
  }
  // A sender may sleep because its ring was full.
  if (any) doorbell_.ring_all();
  return any;
}

bool LocalNotifications::drain(int sender, LocalNotificationSink& sink) {
  NotificationRing& ring = segment_->ring(self_, sender);
  const uint8_t sent = segment_->hints(self_)[sender].load(std::memory_order_acquire);
  uint32_t& taken = taken_[static_cast<size_t>(sender)];
  const auto fresh = static_cast<uint8_t>(sent - static_cast<uint8_t>(taken));
  auto* const seen = reinterpret_cast<uint8_t*>(seen_.data());
  seen[sender] = sent;
  for (uint32_t i = 0; i < fresh; ++i) {
    const uint64_t tag = ring.tags[taken % NotificationRing::kTags];
    ++taken;
    sink.on_local_notification(sender, tag);
  }
  ring.taken.store(taken, std::memory_order_release);
  return fresh != 0;
}

}  // namespace railccl
