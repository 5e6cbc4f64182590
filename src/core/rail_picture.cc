#include "src/core/rail_picture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace railccl {
namespace {

std::string to_string(const RailView& view) {
  std::string text;
  const auto say = [&text](uint32_t mask, std::string_view what) {
    if (mask == 0) return;
    text +=
        fmt::format("{}rail {} {}", text.empty() ? "" : ", ", fmt::join(rails_in(mask), " "), what);
  };
  say(view.down, "down");
  say(view.slow, "slow");
  return fmt::format("{} (towards rank {}), {:.1f} MB/s are left", text, view.towards,
                     static_cast<double>(view.bytes_per_second) / 1e6);
}

}  // namespace

std::vector<int> rails_in(uint32_t mask) {
  std::vector<int> rails;
  for (int rail = 0; rail < 32; ++rail) {
    if ((mask >> rail & 1) != 0) rails.push_back(rail);
  }
  return rails;
}

int RailPicture::slowest_rank() const {
  const auto slowest =
      std::min_element(reduced.begin(), reduced.end(), [](const auto& left, const auto& right) {
        return left.second.bytes_per_second < right.second.bytes_per_second;
      });
  return slowest == reduced.end() ? -1 : slowest->first;
}

MachineModel model_of(const MachineModel& at_start, std::span<const double> rates,
                      const RailPicture& picture) {
  MachineModel model = at_start;
  for (const auto& [rank, view] : picture.reduced) {
    // A rank without any rail makes every choice equally slow; the model needs a number.
    const double left = std::max(1.0, static_cast<double>(view.bytes_per_second));
    const double whole = rates[static_cast<size_t>(rank)];
    model.network_bytes_per_second = std::min({model.network_bytes_per_second, left, whole});
  }
  return model;
}

std::string to_string(const RailPicture& picture) {
  std::string text =
      fmt::format("version {} since operation {}: ", picture.version, picture.from_operation);
  if (picture.reduced.empty()) return text + "all rails as the start found them";
  const char* separator = "";
  for (const auto& [rank, view] : picture.reduced) {
    text += fmt::format("{}rank {}: {}", separator, rank, to_string(view));
    separator = "; ";
  }
  return text;
}

void write(wire::ByteWriter& writer, const RailView& view) {
  writer.write<uint32_t>(view.down);
  writer.write<uint32_t>(view.slow);
  writer.write<uint64_t>(view.bytes_per_second);
  writer.write<uint32_t>(static_cast<uint32_t>(view.towards));
}

RailView read_rail_view(wire::ByteReader& reader) {
  RailView view;
  view.down = reader.read<uint32_t>();
  view.slow = reader.read<uint32_t>();
  view.bytes_per_second = reader.read<uint64_t>();
  view.towards = static_cast<int>(reader.read<uint32_t>());
  return view;
}

}  // namespace railccl
