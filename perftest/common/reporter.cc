#include "perftest/common/reporter.h"

#include "perftest/common/table.h"

namespace railccl::perftest {

void Reporter::print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

void Reporter::head(std::span<const RankDevice> devices, int library_version) {
  if (json_) {
    json_->set_config(options_, devices);
    print(fmt::format("# Writing JSON output to {}\n", json_->path()));
  }
  std::string text = table_head(program_, options_, library_version);
  for (const RankDevice& device : devices) text += device_line(device);
  print(text + fmt::format("# RailCCL {}\n", railcclVersion()) + column_heads(options_));
}

void Reporter::begin_result(const SizeResult& result) { print(line_begin(result)); }

void Reporter::placement(const PlacementResult& result) { print(line_placement(result, options_)); }

void Reporter::end_result(const SizeResult& result) {
  print(line_end(options_, time_of_day()));
  if (json_) json_->add_result(result, options_);
}

void Reporter::rails(std::span<const RankRails> ranks) {
  if (options_.rails) print(rails_table(ranks));
  if (json_) json_->set_rails(ranks);
}

void Reporter::foot(const Summary& summary, const std::optional<MemoryUse>& memory) {
  std::string text = table_foot(program_, summary);
  if (memory) text += memory_line(*memory);
  print(text + "#\n" + error_line(summary));
  if (json_) json_->set_summary(summary);
}

Outcome<void> Reporter::close() {
  if (!json_) return {};
  return json_->close();
}

}  // namespace railccl::perftest
