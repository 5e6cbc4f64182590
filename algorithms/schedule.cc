#include "algorithms/schedule.h"

#include <fmt/format.h>

#include <map>

namespace railccl {
namespace {

std::string to_string(const Slice& slice) {
  static constexpr std::string_view kNames[] = {"input", "output", "scratch"};
  const std::string_view name = kNames[static_cast<size_t>(slice.buffer)];
  if (slice.owner == kSelf) return fmt::format("{}[{}]", name, slice.offset);
  return fmt::format("{}@{}[{}]", name, slice.owner, slice.offset);
}

std::string join(const Schedule& schedule, size_t first, size_t count) {
  std::string text;
  for (size_t i = first; i < first + count && i < schedule.slices.size(); ++i) {
    if (!text.empty()) text += ", ";
    text += to_string(schedule.slices[i]);
  }
  return text;
}

std::string line(const Schedule& schedule, const Step& step) {
  const std::string dsts = join(schedule, step.first_slice, step.num_dsts);
  const std::string srcs = join(schedule, step.first_slice + step.num_dsts, step.num_srcs);
  const std::string_view lap = step.previous_lap ? " previous lap" : "";
  switch (step.kind) {
    case StepKind::kPut:
      return fmt::format("put {} {} -> rank {} {} tag {}", step.count, srcs, step.peer, dsts,
                         step.tag);
    case StepKind::kSignal:
      return fmt::format("signal rank {} tag {}{}", step.peer, step.tag, lap);
    case StepKind::kWait:
      return fmt::format("wait rank {} tag {}{}", step.peer, step.tag, lap);
    case StepKind::kReduce:
      return fmt::format("reduce {} {} -> {}{}", step.count, srcs, dsts,
                         step.final ? " final" : "");
    case StepKind::kCopy:
      return fmt::format("copy {} {} -> {}", step.count, srcs, dsts);
  }
  return "?";
}

}  // namespace

Layout make_layout(const std::vector<int>& node_ids) {
  Layout layout;
  std::map<int, int> numbers;
  for (size_t rank = 0; rank < node_ids.size(); ++rank) {
    const int node = numbers.try_emplace(node_ids[rank], layout.nodes()).first->second;
    if (node == layout.nodes()) layout.ranks_of.emplace_back();
    auto& members = layout.ranks_of[static_cast<size_t>(node)];
    layout.node_of.push_back(node);
    layout.local_index.push_back(static_cast<int>(members.size()));
    members.push_back(static_cast<int>(rank));
  }
  layout.position.resize(node_ids.size());
  for (const auto& members : layout.ranks_of) {
    for (const int rank : members) {
      layout.position[static_cast<size_t>(rank)] = static_cast<int>(layout.order.size());
      layout.order.push_back(rank);
    }
  }
  return layout;
}

std::string to_string(const Schedule& schedule) {
  std::string text = fmt::format("scratch {}\n", schedule.scratch_elements);
  for (size_t i = 0; i < schedule.steps.size(); ++i) {
    text += fmt::format("{}: {}\n", i, line(schedule, schedule.steps[i]));
  }
  return text;
}

}  // namespace railccl
