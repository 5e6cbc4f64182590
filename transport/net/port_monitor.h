// Watches one network interface: a routing-netlink socket says that something changed, the kernel
// is then asked what holds now. Owned by the rail; its thread. Lives in the network namespace of
// the thread that created it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/base/unique_fd.h"
#include "transport/net/poller.h"
#include "transport/net/socket_address.h"

namespace railccl::net {

class PortMonitor final : public Pollable {
 public:
  // Success: up, with a carrier and the address (any, if none is given). An error says what is
  // missing.
  using OnChange = std::function<void(const Status& usable)>;

  // `on_change` is called from on_ready when the port becomes usable or ceases to be.
  static Result<std::unique_ptr<PortMonitor>> open(const std::string& interface_name,
                                                   const SocketAddress& address, Poller& poller,
                                                   OnChange on_change);
  ~PortMonitor() override;
  void on_ready(uint32_t ready) override;

 private:
  PortMonitor(const std::string& interface_name, const SocketAddress& address, Poller& poller,
              OnChange on_change);
  bool drain();
  Status query() const;

  const std::string interface_name_;
  const SocketAddress address_;
  Poller& poller_;
  OnChange on_change_;
  UniqueFd netlink_;
  bool usable_ = true;
};

}  // namespace railccl::net
