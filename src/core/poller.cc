#include "src/core/poller.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

namespace railccl::boot {

Result<Poller> Poller::create() {
  Poller poller;
  poller.epoll_ = GuardedFd(UniqueFd(::epoll_create1(EPOLL_CLOEXEC)));
  if (!poller.epoll_) return system_error(errno, "epoll_create1");
  return poller;
}

Status Poller::watch(int fd, bool write) {
  epoll_event event{};
  event.events = write ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return Status::ok();
  if (errno == ENOENT && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) {
    return Status::ok();
  }
  return system_error(errno, "epoll_ctl");
}

void Poller::forget(int fd) { (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::span<const int> Poller::ready(int timeout_ms) {
  std::array<epoll_event, 128> events;
  const int count =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  ready_.clear();
  for (int i = 0; i < count; ++i) ready_.push_back(events[static_cast<size_t>(i)].data.fd);
  return ready_;
}

}  // namespace railccl::boot
