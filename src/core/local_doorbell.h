// Sleeping and waking among the ranks of a node. Each rank has one word in the segment: 0 while it
// is awake, else how it sleeps. Whoever did something that others may wait for rings, which is one
// look at the words as long as nobody sleeps.
//
// No wake-up is lost. Let W be the sleeper's word and D any shared word that a sleeper may wait
// for:
//
//   sleeper                            ringer
//   S1  W = kind of sleep              R1  D = news
//   S2  full fence                     R2  full fence
//   S3  last look at D                 R3  look at W
//   S4  nothing new: sleep until       R4  W != 0: W.exchange(0); if that was not 0 either,
//       W is 0 / the socket is readable    wake the futex / send a datagram
//
// The fences are ordered one before the other in the single order of sequentially consistent
// fences. S2 before R2: then R3 sees W of S1 (or 0 that another ringer put there, who wakes it
// himself), so the ringer rings; the futex compares W and sleeps only while it still holds the
// kind, and a datagram waits in the socket, so the ring is effective whether it comes before or
// after S4. R2 before S2: then S3 sees the news, and nobody sleeps. A ringer that dies between R4's
// two halves loses a wake-up: every sleep has a timeout.
//
// Threading: one thread at a time; but any thread may ring, at any time.
#pragma once

#include <sys/un.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "src/base/clock.h"
#include "src/base/mutex.h"
#include "src/base/status.h"
#include "src/base/unique_fd.h"
#include "src/core/local_domain.h"

namespace railccl {

class LocalDoorbell {
 public:
  // `words`: one per rank, in the segment. `token` makes the sockets' names unguessable.
  LocalDoorbell(std::span<std::atomic<uint32_t>> words, int self, const uint64_t (&token)[2]);

  // As LocalDomain.
  void prepare_sleep(LocalDomain::SleepOn how);
  void sleep(TimeNs timeout_ns);
  void finish_sleep();
  Result<int> descriptor();

  // After the stores that others may wait for.
  void ring(int rank);
  void ring_all();

 private:
  struct Address {
    sockaddr_un socket;
    socklen_t length;
  };
  Address address_of(int rank) const;
  void wake(int rank);
  void send_datagram(int rank);
  void drain();

  std::span<std::atomic<uint32_t>> words_;
  int self_;
  uint64_t token_[2];
  uint32_t sleeping_on_ = 0;  // this rank, between prepare_sleep and finish_sleep
  UniqueFd receiver_;         // bound to this rank's address, on first use
  Mutex sender_mutex_;
  UniqueFd sender_ RAILCCL_GUARDED_BY(sender_mutex_);  // on first use
};

}  // namespace railccl
