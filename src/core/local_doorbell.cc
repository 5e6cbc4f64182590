#include "src/core/local_doorbell.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "src/core/local_fence.h"

namespace railccl {
namespace {

constexpr uint32_t kAwake = 0;
constexpr uint32_t kOnFutex = 1;
constexpr uint32_t kOnDescriptor = 2;

// Keeps the kernel's signed seconds in range.
constexpr TimeNs kLongestSleep = 3600 * kSecond;

// Datagrams of one drain; a stranger who floods the socket costs no more than this per sleep.
constexpr int kMaxDrained = 64;

uint32_t kind_of(LocalDomain::SleepOn how) {
  return how == LocalDomain::SleepOn::kFutex ? kOnFutex : kOnDescriptor;
}

// The words are shared between processes, so these are not the private variants.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, TimeNs timeout_ns) {
  const timespec timeout{.tv_sec = static_cast<time_t>(timeout_ns / kSecond),
                         .tv_nsec = static_cast<long>(timeout_ns % kSecond)};
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

LocalDoorbell::LocalDoorbell(std::span<std::atomic<uint32_t>> words, int self,
                             const uint64_t (&token)[2])
    : words_(words), self_(self), token_{token[0], token[1]} {}

void LocalDoorbell::prepare_sleep(LocalDomain::SleepOn how) {
  sleeping_on_ = kind_of(how);
  words_[static_cast<size_t>(self_)].store(sleeping_on_, std::memory_order_relaxed);
  full_fence();
}

void LocalDoorbell::sleep(TimeNs timeout_ns) {
  futex_wait(words_[static_cast<size_t>(self_)], kOnFutex, std::min(timeout_ns, kLongestSleep));
}

void LocalDoorbell::finish_sleep() {
  if (sleeping_on_ == kAwake) return;
  words_[static_cast<size_t>(self_)].store(kAwake, std::memory_order_relaxed);
  if (sleeping_on_ == kOnDescriptor) drain();
  sleeping_on_ = kAwake;
}

Result<int> LocalDoorbell::descriptor() {
  if (receiver_) return receiver_.get();
  UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_fd) return system_error(errno, "opening a doorbell socket");
  const Address address = address_of(self_);
  if (bind(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address.socket), address.length) !=
      0) {
    return system_error(errno, "binding a doorbell socket");
  }
  receiver_ = std::move(socket_fd);
  return receiver_.get();
}

void LocalDoorbell::ring(int rank) {
  full_fence();
  if (words_[static_cast<size_t>(rank)].load(std::memory_order_relaxed) != kAwake) wake(rank);
}

void LocalDoorbell::ring_all() {
  full_fence();
  for (size_t i = 0; i < words_.size(); ++i) {
    if (words_[i].load(std::memory_order_relaxed) != kAwake && static_cast<int>(i) != self_) {
      wake(static_cast<int>(i));
    }
  }
}

void LocalDoorbell::wake(int rank) {
  std::atomic<uint32_t>& word = words_[static_cast<size_t>(rank)];
  switch (word.exchange(kAwake, std::memory_order_relaxed)) {
    case kOnFutex:
      return futex_wake(word);
    case kOnDescriptor:
      return send_datagram(rank);
    default:
      return;  // someone else woke it
  }
}

void LocalDoorbell::send_datagram(int rank) {
  const MutexLock guard(sender_mutex_);
  if (!sender_) sender_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const Address address = address_of(rank);
  const char ring = 1;
  // A full socket is readable already; a receiver that is gone needs no waking.
  (void)sendto(sender_.get(), &ring, sizeof ring, MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address.socket), address.length);
}

void LocalDoorbell::drain() {
  char ignored[8];
  for (int i = 0; i < kMaxDrained; ++i) {
    if (recv(receiver_.get(), ignored, sizeof ignored, MSG_TRUNC) < 0) return;
  }
}

LocalDoorbell::Address LocalDoorbell::address_of(int rank) const {
  Address address{};
  address.socket.sun_family = AF_UNIX;
  // The leading zero byte puts the name into the abstract namespace: no file is left behind.
  const std::string name = fmt::format("railccl-{:016x}{:016x}-{}", token_[0], token_[1], rank);
  std::memcpy(address.socket.sun_path + 1, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

}  // namespace railccl
