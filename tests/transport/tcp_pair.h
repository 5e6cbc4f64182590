// Two TCP rails on this machine for tests, with real time; and the smaller things that TCP's own
// tests share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/transport/conformance/rail_conformance.h"
#include "transport/tcp/tcp_transport.h"

namespace railccl::testing_support {

// A rail on a loopback address: "127.0.0.1", "::1".
TcpRailConfig loopback_config(const std::string& ip);
// Limits of a test: small waits, warnings into `warnings` when that is given.
TcpRailOptions test_options(std::vector<std::string>* warnings = nullptr);
std::unique_ptr<Rail> open_or_fail(const TcpRailConfig& config, const TcpRailOptions& options);

// Waits up to `timeout_ms` for one of the rails to have something to do.
void wait_for_rails(std::initializer_list<const Rail*> rails, int timeout_ms);

class TcpPair final : public RailPair {
 public:
  TcpPair(const std::string& ip0, const std::string& ip1, const TcpRailOptions& options);
  Rail& rail(int side) override { return *rails_[static_cast<size_t>(side)]; }
  TimeNs now() override { return system_clock().now_ns(); }
  void idle() override { wait_for_rails({rails_[0].get(), rails_[1].get()}, 2); }

 private:
  std::array<std::unique_ptr<Rail>, 2> rails_;
};

}  // namespace railccl::testing_support
