// Notifications between the ranks of a node: one ring of 64-bit tags per ordered pair, one sender
// and one receiver each. A sender's byte in the receiver's hint line counts what it sent, so that
// an idle receiver looks at one cache line for up to 64 peers, and news costs two.
//
// Threading: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/core/local_domain.h"
#include "src/core/local_doorbell.h"
#include "src/core/local_segment.h"

namespace railccl {

class LocalNotifications {
 public:
  LocalNotifications(std::shared_ptr<LocalSegment> segment, int self, LocalDoorbell& doorbell);

  bool notify(int rank, uint64_t tag);
  bool poll(LocalNotificationSink& sink);

 private:
  struct Outgoing {
    uint32_t sent = 0;
    uint32_t taken = 0;  // last seen
  };
  bool drain(int sender, LocalNotificationSink& sink);

  std::shared_ptr<LocalSegment> segment_;
  int self_;
  LocalDoorbell& doorbell_;
  std::vector<Outgoing> outgoing_;
  std::vector<uint32_t> taken_;  // by sender
  std::vector<uint64_t> seen_;   // hint bytes up to which everything was taken, as words
  const uint64_t* hint_words_;
};

}  // namespace railccl
