#include "transport/verbs/gid_selection.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace railccl::verbs {
namespace {

constexpr int kMappedBits = 96;  // ::ffff:0:0/96 before the IPv4 address

struct Range {
  GidBytes network{};
  int bits = 0;

  bool holds(const GidBytes& gid) const {
    for (int bit = 0; bit < bits; ++bit) {
      const auto byte = static_cast<size_t>(bit / 8);
      const int mask = 0x80 >> (bit % 8);
      if (((network[byte] ^ gid[byte]) & mask) != 0) return false;
    }
    return true;
  }
};

Result<Range> parse_range(const std::string& text) {
  const auto refuse = [&] {
    return error(Code::kInvalidArgument, "'{}' is not a network; write for example 10.1.0.0/16",
                 text);
  };
  const size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  Range range;
  in_addr ipv4{};
  const bool is_ipv4 = inet_pton(AF_INET, address.c_str(), &ipv4) == 1;
  if (is_ipv4) {
    range.network[10] = range.network[11] = 0xff;
    std::memcpy(range.network.data() + 12, &ipv4, sizeof ipv4);
  } else if (inet_pton(AF_INET6, address.c_str(), range.network.data()) != 1) {
    return refuse();
  }
  const int most = is_ipv4 ? 32 : 128;
  int bits = most;
  if (slash != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto [stop, problem] = std::from_chars(text.data() + slash + 1, end, bits);
    if (problem != std::errc{} || stop != end || bits < 0 || bits > most) return refuse();
  }
  range.bits = is_ipv4 ? kMappedBits + bits : bits;
  return range;
}

std::string list(std::span<const GidEntry> entries) {
  constexpr std::array<std::string_view, 3> kTypes = {"IB", "RoCE v1", "RoCE v2"};
  std::string text;
  for (const GidEntry& one : entries) {
    text += fmt::format("{}{}: {} {}", text.empty() ? "" : ", ", one.index, gid_text(one.gid),
                        kTypes[static_cast<size_t>(one.type)]);
  }
  return text.empty() ? "none" : text;
}

// Larger is better.
int preference(const GidEntry& entry, const GidWish& wish) {
  const GidType version = wish.roce_version == 1 ? GidType::kRoceV1 : GidType::kRoceV2;
  return (entry.type == version ? 4 : 0) + (is_ipv4_mapped(entry.gid) != wish.ipv6 ? 2 : 0) +
         (is_link_local(entry.gid) ? 0 : 1);
}

}  // namespace

bool is_ipv4_mapped(const GidBytes& gid) {
  return std::all_of(gid.begin(), gid.begin() + 10, [](uint8_t byte) { return byte == 0; }) &&
         gid[10] == 0xff && gid[11] == 0xff;
}

bool is_link_local(const GidBytes& gid) {
  return (gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80) ||
         (is_ipv4_mapped(gid) && gid[12] == 169 && gid[13] == 254);
}

std::string gid_text(const GidBytes& gid) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_ipv4_mapped(gid)) {
    inet_ntop(AF_INET, gid.data() + 12, text.data(), text.size());
  } else {
    inet_ntop(AF_INET6, gid.data(), text.data(), text.size());
  }
  return text.data();
}

Result<GidEntry> choose_gid(std::span<const GidEntry> entries, const GidWish& wish) {
  if (wish.index >= 0 || !wish.ethernet) {
    const auto index = static_cast<uint32_t>(std::max(wish.index, 0));
    const auto found = std::ranges::find(entries, index, &GidEntry::index);
    if (index > kMaxGidIndex) {
      return error(Code::kInvalidArgument, "GID index {} is more than {}, the largest of a path",
                   index, kMaxGidIndex);
    }
    if (found != entries.end()) return *found;
    return error(Code::kInvalidArgument, "there is no GID with index {}; there are: {}", index,
                 list(entries));
  }
  std::optional<Range> range;
  if (!wish.range.empty()) {
    RAILCCL_ASSIGN(range, parse_range(wish.range));
  }
  const GidEntry* best = nullptr;
  for (const GidEntry& one : entries) {
    if (one.index > kMaxGidIndex || (range && !range->holds(one.gid))) continue;
    if (best == nullptr || preference(one, wish) > preference(*best, wish)) best = &one;
  }
  if (best != nullptr) return *best;
  return error(Code::kInvalidArgument, "no GID{}{}; there are: {}", range ? " lies in " : "",
               wish.range, list(entries));
}

}  // namespace railccl::verbs
