#include "src/core/metrics_output.h"

#include <fmt/format.h>

#include "src/base/log.h"
#include "src/base/path_pattern.h"
#include "src/base/write_file.h"
#include "src/core/communicator.h"
#include "src/core/output_file.h"

namespace railccl {
namespace {

constexpr size_t kEndedKept = 64;

}  // namespace

Result<std::unique_ptr<MetricsOutput>> MetricsOutput::create(const Settings& settings) {
  std::unique_ptr<MetricsOutput> output;
  if (!settings.is_set(Setting::kMetricsFile)) return output;
  RAILCCL_TRY(check_output_file(settings, Setting::kMetricsFile));
  output.reset(new MetricsOutput);
  output->pattern_ = settings.get_text(Setting::kMetricsFile);
  output->interval_ = static_cast<TimeNs>(settings.get_int(Setting::kMetricsIntervalS)) * kSecond;
  return output;
}

void MetricsOutput::remove(const Communicator* communicator) {
  ended_.push_back(communicator->metrics());
  if (ended_.size() > kEndedKept) ended_.pop_front();
  std::erase(communicators_, communicator);
  write();
}

bool MetricsOutput::progress(TimeNs now) {
  if (now < next_) return false;
  next_ = now + interval_;
  if (communicators_.empty()) return false;
  write();
  return true;
}

void MetricsOutput::write() const {
  std::vector<CommMetrics> all(ended_.begin(), ended_.end());
  for (const Communicator* communicator : communicators_) all.push_back(communicator->metrics());
  const int rank = all.empty() ? 0 : all.front().rank;
  const Status written = write_file(expand_path(pattern_, rank), metrics_as_text(all));
  if (!written) {
    RAILCCL_WARN_ONCE(Subsys::kProfile, "metrics file", "RAILCCL_METRICS_FILE: {}",
                      written.message());
  }
}

}  // namespace railccl
