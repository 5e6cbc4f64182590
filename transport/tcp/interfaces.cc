#include "transport/tcp/interfaces.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>

namespace railccl::tcp {
namespace {

// IFF_LOWER_UP: the carrier as it is now; IFF_RUNNING follows it late. glibc's net/if.h lacks it.
constexpr unsigned kLowerUp = 1U << 16;
constexpr uint64_t kBytesPerMegabit = 1'000'000 / 8;

// A number in a sysfs file; -1 where there is none (also a speed that the driver does not know).
long read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  long value = -1;
  return file >> value ? value : -1;
}

// "0000:41:00.0": domain, bus, device, function.
bool is_pci_address(std::string_view text) {
  static constexpr std::string_view kShape = "xxxx:xx:xx.x";
  return text.size() == kShape.size() &&
         std::equal(text.begin(), text.end(), kShape.begin(), [](char c, char shape) {
           return shape == 'x' ? std::isxdigit(static_cast<unsigned char>(c)) != 0 : c == shape;
         });
}

// The device of an interface may be a child of its PCI device (virtio): the last PCI address on the
// path is meant.
std::string pci_address_of(const std::filesystem::path& device) {
  std::error_code ignored;
  const auto real = std::filesystem::canonical(device, ignored);
  std::string found;
  for (const auto& part : real) {
    if (is_pci_address(part.string())) found = part.string();
  }
  return found;
}

int prefix_bits_of(const sockaddr* netmask) {
  const auto mask = net::SocketAddress::from_sockaddr(netmask);
  if (!mask) return 0;
  int bits = 0;
  for (const uint8_t byte : mask->ip()) bits += std::popcount(byte);
  return bits;
}

void read_sysfs(const std::filesystem::path& sysfs, NetworkInterface& interface) {
  const auto folder = sysfs / "class" / "net" / interface.name;
  const long megabits = read_number(folder / "speed");
  if (megabits > 0) {
    interface.bytes_per_second = static_cast<uint64_t>(megabits) * kBytesPerMegabit;
  }
  interface.pci_address = pci_address_of(folder / "device");
  if (!interface.pci_address.empty()) {
    const auto pci = sysfs / "bus" / "pci" / "devices" / interface.pci_address;
    interface.numa_node = static_cast<int>(read_number(pci / "numa_node"));
  }
}

}  // namespace

Result<std::vector<NetworkInterface>> read_interfaces(const std::string& sysfs) {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0) return system_error(errno, "getifaddrs");
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> all(head, &freeifaddrs);
  std::vector<NetworkInterface> result;
  for (const ifaddrs* one = head; one != nullptr; one = one->ifa_next) {
    auto found = std::ranges::find(result, one->ifa_name, &NetworkInterface::name);
    if (found == result.end()) {
      result.push_back({.name = one->ifa_name,
                        .up = (one->ifa_flags & IFF_UP) != 0 && (one->ifa_flags & kLowerUp) != 0,
                        .loopback = (one->ifa_flags & IFF_LOOPBACK) != 0});
      read_sysfs(sysfs, result.back());
      found = result.end() - 1;
    }
    if (auto address = net::SocketAddress::from_sockaddr(one->ifa_addr)) {
      found->addresses.push_back({*address, prefix_bits_of(one->ifa_netmask)});
    }
  }
  return result;
}

}  // namespace railccl::tcp
