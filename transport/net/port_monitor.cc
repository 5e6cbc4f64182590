#include "transport/net/port_monitor.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace railccl::net {
namespace {

// IFF_LOWER_UP: the carrier as it is now; IFF_RUNNING follows it late. glibc's net/if.h lacks it.
constexpr unsigned kLowerUp = 1U << 16;

}  // namespace

PortMonitor::PortMonitor(const std::string& interface_name, const SocketAddress& address,
                         Poller& poller, OnChange on_change)
    : interface_name_(interface_name),
      address_(address),
      poller_(poller),
      on_change_(std::move(on_change)) {}

Result<std::unique_ptr<PortMonitor>> PortMonitor::open(const std::string& interface_name,
                                                       const SocketAddress& address, Poller& poller,
                                                       OnChange on_change) {
  std::unique_ptr<PortMonitor> monitor(
      new PortMonitor(interface_name, address, poller, std::move(on_change)));
  monitor->netlink_.reset(
      socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!monitor->netlink_) return system_error(errno, "netlink socket");
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(monitor->netlink_.get(), reinterpret_cast<sockaddr*>(&groups), sizeof groups) != 0) {
    return system_error(errno, "netlink bind");
  }
  RAILCCL_TRY(poller.add(monitor->netlink_.get(), EPOLLIN, *monitor));
  monitor->usable_ = monitor->query().is_ok();
  return monitor;
}

PortMonitor::~PortMonitor() {
  if (netlink_) poller_.remove(netlink_.get());
}

// True when a message may concern the interface; one that was lost may.
bool PortMonitor::drain() {
  bool concerned = false;
  const int index = static_cast<int>(if_nametoindex(interface_name_.c_str()));
  alignas(nlmsghdr) std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t bytes = recv(netlink_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (bytes < 0 && errno == ENOBUFS) concerned = true;
    if (bytes <= 0) {
      if (bytes < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
      return concerned;
    }
    auto left = static_cast<unsigned>(bytes);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      const bool link = message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK;
      const int about =
          link ? static_cast<const ifinfomsg*>(NLMSG_DATA(message))->ifi_index
               : static_cast<int>(static_cast<const ifaddrmsg*>(NLMSG_DATA(message))->ifa_index);
      concerned = concerned || index == 0 || about == index;
    }
  }
}

void PortMonitor::on_ready(uint32_t /*ready*/) {
  if (!drain()) return;
  const Status now = query();
  if (now.is_ok() == usable_) return;
  usable_ = now.is_ok();
  on_change_(now);
}

Status PortMonitor::query() const {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0) return Status::ok();  // not known to be unusable
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> all(head, &freeifaddrs);
  bool exists = false;
  unsigned flags = 0;
  // All of 127.0.0.0/8 belongs to loopback without being listed.
  bool has_address = address_.family() == AF_UNSPEC || address_.is_loopback();
  for (const ifaddrs* one = head; one != nullptr; one = one->ifa_next) {
    if (interface_name_ != one->ifa_name) continue;
    exists = true;
    flags |= one->ifa_flags;
    const auto here = SocketAddress::from_sockaddr(one->ifa_addr);
    has_address = has_address || (here && here->same_ip(address_));
  }
  const auto unusable = [&](std::string_view why) {
    return error(Code::kRailFailed, "interface {} {}", interface_name_, why);
  };
  if (!exists) return unusable("is gone");
  if ((flags & IFF_UP) == 0) return unusable("was taken down");
  if ((flags & kLowerUp) == 0) return unusable("has no carrier");
  if (!has_address) return unusable(fmt::format("has lost the address {}", address_.ip_text()));
  return Status::ok();
}

}  // namespace railccl::net
