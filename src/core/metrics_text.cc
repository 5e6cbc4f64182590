#include "src/core/metrics_text.h"

#include <fmt/format.h>

#include <iterator>

namespace railccl {
namespace {

std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

std::string labels_of(const CommMetrics& comm) {
  return fmt::format("communicator=\"{}\",id=\"{:016x}\",rank=\"{}\"", escaped(comm.name), comm.id,
                     comm.rank);
}

class Page {
 public:
  // All samples of one metric stand together, after its two lines of description.
  void begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    described_ = false;
    type_ = type;
    help_ = help;
  }
  template <typename Value>
  void sample(const std::string& labels, Value value) {
    if (!described_) {
      text_ += fmt::format("# HELP railccl_{0} {1}\n# TYPE railccl_{0} {2}\n", name_, help_, type_);
      described_ = true;
    }
    text_ += fmt::format("railccl_{}{{{}}} {}\n", name_, labels, value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  std::string_view name_;
  std::string_view type_;
  std::string_view help_;
  bool described_ = false;
};

using Communicators = std::span<const CommMetrics>;

template <typename Value>
void add_operations(Page& page, Communicators communicators, std::string_view name,
                    std::string_view help, Value value) {
  page.begin(name, "counter", help);
  for (const CommMetrics& comm : communicators) {
    for (const auto& [collective, totals] : comm.operations) {
      page.sample(fmt::format("{},collective=\"{}\"", labels_of(comm), collective_name(collective)),
                  value(totals));
    }
  }
}

template <typename Value>
void add_predicted(Page& page, Communicators communicators, std::string_view name,
                   std::string_view help, Value value) {
  page.begin(name, "counter", help);
  for (const CommMetrics& comm : communicators) {
    for (const PredictedTotals& totals : comm.predicted) {
      page.sample(fmt::format("{},collective=\"{}\",bytes=\"{}\"", labels_of(comm),
                              collective_name(totals.collective), totals.largest_bytes),
                  value(totals));
    }
  }
}

template <typename Value>
void add_rails(Page& page, Communicators communicators, std::string_view name,
               std::string_view type, std::string_view help, Value value) {
  page.begin(name, type, help);
  for (const CommMetrics& comm : communicators) {
    for (const CommMetrics::Rail& rail : comm.rails) {
      page.sample(fmt::format("{},rail=\"{}\",transport=\"{}\"", labels_of(comm),
                              escaped(rail.name), rail.transport),
                  value(rail.stats));
    }
  }
}

void add_all_rails(Page& page, Communicators all) {
  using Stats = LinkRailStats;
  add_rails(page, all, "rail_sent_bytes_total", "counter", "Payload that the rail has delivered.",
            [](const Stats& stats) { return stats.bytes_sent; });
  add_rails(page, all, "rail_received_bytes_total", "counter", "Payload that came over the rail.",
            [](const Stats& stats) { return stats.bytes_received; });
  add_rails(page, all, "rail_replayed_bytes_total", "counter",
            "Payload sent again because a rail had failed.",
            [](const Stats& stats) { return stats.replayed_bytes; });
  add_rails(page, all, "rail_bytes_per_second", "gauge",
            "Measured rate: delivered over busy time; 0: not measured.",
            [](const Stats& stats) { return stats.bytes_per_second; });
  add_rails(page, all, "rail_state", "gauge",
            "Worst state towards any peer: 0 up, 1 suspect, 2 down, 3 probing, 4 rejoining.",
            [](const Stats& stats) { return static_cast<int>(stats.state); });
  add_rails(page, all, "rail_standby", "gauge",
            "1: used only when no rail of a better transport is up.",
            [](const Stats& stats) { return static_cast<int>(stats.standby); });
  add_rails(page, all, "rail_slow", "gauge", "1: far slower than its siblings, demoted.",
            [](const Stats& stats) { return static_cast<int>(stats.slow); });
  add_rails(page, all, "rail_failures_total", "counter", "How often the rail went down.",
            [](const Stats& stats) { return stats.failures; });
  add_rails(page, all, "rail_recoveries_total", "counter", "How often it came back.",
            [](const Stats& stats) { return stats.recoveries; });
  add_rails(page, all, "rail_stall_seconds_max", "gauge",
            "Longest time without delivery while something was in flight.",
            [](const Stats& stats) { return in_seconds(stats.stall_ns_max); });
}

}  // namespace

std::string metrics_as_text(Communicators all) {
  Page page;
  page.begin("ranks", "gauge", "Ranks of the communicator.");
  for (const CommMetrics& comm : all) page.sample(labels_of(comm), comm.ranks);
  page.begin("failed", "gauge", "1: the communicator has ended with an error.");
  for (const CommMetrics& comm : all) page.sample(labels_of(comm), static_cast<int>(comm.failed));
  add_operations(page, all, "operations_total", "Operations that this rank has completed.",
                 [](const OperationTotals& totals) { return totals.operations; });
  add_operations(page, all, "operation_bytes_total", "Their payload, as the caller's count says.",
                 [](const OperationTotals& totals) { return totals.bytes; });
  add_operations(page, all, "operation_seconds_total", "Their time, from begin to end.",
                 [](const OperationTotals& totals) { return in_seconds(totals.took_ns); });
  add_predicted(page, all, "predicted_operations_total",
                "Operations with a prediction, by bytes (up to this power of two).",
                [](const PredictedTotals& totals) { return totals.operations; });
  add_predicted(page, all, "predicted_seconds_total", "What the cost model expected of them.",
                [](const PredictedTotals& totals) { return in_seconds(totals.predicted_ns); });
  add_predicted(page, all, "measured_seconds_total", "What they took.",
                [](const PredictedTotals& totals) { return in_seconds(totals.took_ns); });
  add_all_rails(page, all);
  return page.take();
}

}  // namespace railccl
