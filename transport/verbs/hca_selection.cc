#include "transport/verbs/hca_selection.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace railccl::verbs {
namespace {

struct Item {
  std::string device;
  int port = 0;  // 0: any
  std::string text;

  bool matches(const HcaPort& one, bool exact) const {
    const bool named = exact ? one.device == device : one.device.starts_with(device);
    return named && (port == 0 || port == one.port);
  }
};

Result<Item> parse_item(std::string_view text) {
  Item item{.text = std::string(text)};
  const size_t colon = text.find(':');
  item.device = text.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, problem] =
        std::from_chars(digits.data(), digits.data() + digits.size(), item.port);
    if (problem != std::errc{} || end != digits.data() + digits.size() || item.port < 1 ||
        item.port > 255) {
      item.device.clear();
    }
  }
  if (item.device.empty()) {
    return error(Code::kInvalidArgument,
                 "'{}' names no RDMA port; write [^][=]device[:port],... for example mlx5_0:1",
                 text);
  }
  return item;
}

std::string list(std::span<const HcaPort> ports) {
  std::vector<std::string> names;
  for (const HcaPort& port : ports) names.push_back(port.name());
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string HcaPort::name() const { return fmt::format("{}:{}", device, port); }

Result<HcaSelection> select_ports(std::string_view spec, std::span<const HcaPort> ports) {
  const bool exclude = spec.starts_with('^');
  if (exclude) spec.remove_prefix(1);
  const bool exact = spec.starts_with('=');
  if (exact) spec.remove_prefix(1);
  std::vector<Item> items;
  for (size_t begin = 0; begin < spec.size();) {
    const size_t end = std::min(spec.find(',', begin), spec.size());
    RAILCCL_ASSIGN(Item item, parse_item(spec.substr(begin, end - begin)));
    items.push_back(std::move(item));
    begin = end + 1;
  }
  HcaSelection selection;
  if (exclude || items.empty()) {
    for (size_t i = 0; i < ports.size(); ++i) {
      const auto matches = [&](const Item& item) { return item.matches(ports[i], exact); };
      if (std::ranges::none_of(items, matches)) selection.ports.push_back(i);
    }
    return selection;
  }
  for (const Item& item : items) {
    bool any = false;
    for (size_t i = 0; i < ports.size(); ++i) {
      if (!item.matches(ports[i], exact)) continue;
      any = true;
      const bool taken = std::ranges::find(selection.ports, i) != selection.ports.end();
      if (!taken) selection.ports.push_back(i);
    }
    if (any) continue;
    if (exact) {
      return error(Code::kInvalidArgument, "there is no RDMA port {}; there are: {}", item.text,
                   list(ports));
    }
    selection.warnings.push_back(
        fmt::format("no RDMA port begins with '{}'; there are: {}", item.text, list(ports)));
  }
  return selection;
}

}  // namespace railccl::verbs
