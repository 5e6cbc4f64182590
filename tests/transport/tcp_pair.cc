#include "tests/transport/tcp_pair.h"

#include <poll.h>

namespace railccl::testing_support {

TcpRailConfig loopback_config(const std::string& ip) {
  auto address = net::SocketAddress::parse(ip);
  EXPECT_TRUE(address) << ip;
  TcpRailConfig config{.interface_name = "lo", .address = *address};
  config.info = {.name = "lo@" + ip,
                 .transport = TransportKind::kTcp,
                 .address = ip,
                 .memory_kinds = static_cast<uint32_t>(MemoryKind::kHost),
                 .max_put_bytes = size_t{1} << 30};
  return config;
}

TcpRailOptions test_options(std::vector<std::string>* warnings) {
  TcpRailOptions options;
  options.connect_timeout_ns = 5 * kSecond;
  options.attempt_timeout_ns = kSecond;
  options.stranger_timeout_ns = kSecond;
  if (warnings != nullptr) {
    options.warn = [warnings](std::string_view text) { warnings->emplace_back(text); };
  }
  return options;
}

std::unique_ptr<Rail> open_or_fail(const TcpRailConfig& config, const TcpRailOptions& options) {
  auto rail = open_tcp_rail(config, options);
  if (rail) return std::move(*rail);
  ADD_FAILURE() << rail.error().message();
  return nullptr;
}

void wait_for_rails(std::initializer_list<const Rail*> rails, int timeout_ms) {
  std::vector<pollfd> descriptors;
  for (const Rail* rail : rails) descriptors.push_back({rail->wake_fd(), POLLIN, 0});
  poll(descriptors.data(), descriptors.size(), timeout_ms);
}

TcpPair::TcpPair(const std::string& ip0, const std::string& ip1, const TcpRailOptions& options)
    : rails_{open_or_fail(loopback_config(ip0), options),
             open_or_fail(loopback_config(ip1), options)} {}

}  // namespace railccl::testing_support
