#include "transport/net/poller.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <cerrno>

namespace railccl::net {
namespace {

// Edge-triggered: a wake-up or tick is reported once and need not be read.
Status add_own(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return system_error(errno, "epoll_ctl");
  return Status::ok();
}

}  // namespace

Result<Poller> Poller::create() {
  Poller poller;
  poller.epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!poller.epoll_) return system_error(errno, "epoll_create1");
  poller.wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!poller.wake_) return system_error(errno, "eventfd");
  poller.timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!poller.timer_) return system_error(errno, "timerfd_create");
  RAILCCL_TRY(add_own(poller.epoll_.get(), poller.wake_.get()));
  RAILCCL_TRY(add_own(poller.epoll_.get(), poller.timer_.get()));
  return poller;
}

Status Poller::add(int fd, uint32_t interest, Pollable& target) {
  epoll_event event{};
  event.events = interest;
  event.data.ptr = &target;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return system_error(errno, "epoll_ctl add");
  }
  return Status::ok();
}

Status Poller::modify(int fd, uint32_t interest, Pollable& target) {
  epoll_event event{};
  event.events = interest;
  event.data.ptr = &target;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
    return system_error(errno, "epoll_ctl modify");
  }
  return Status::ok();
}

void Poller::remove(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::span<const epoll_event> Poller::ready() {
  const int found = epoll_wait(epoll_.get(), events_.data(), kMaxEvents, 0);
  size_t kept = 0;
  for (int i = 0; i < found; ++i) {
    if (events_[static_cast<size_t>(i)].data.ptr == nullptr) continue;
    events_[kept++] = events_[static_cast<size_t>(i)];
  }
  return {events_.data(), kept};
}

void Poller::wake() {
  // The counter cannot overflow in practice, and a full one is readable as well.
  [[maybe_unused]] const int result = eventfd_write(wake_.get(), 1);
}

void Poller::set_tick(TimeNs period) {
  itimerspec spec{};
  spec.it_interval.tv_sec = static_cast<time_t>(period / kSecond);
  spec.it_interval.tv_nsec = static_cast<long>(period % kSecond);
  spec.it_value = spec.it_interval;
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

}  // namespace railccl::net
