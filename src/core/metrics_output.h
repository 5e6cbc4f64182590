// Keeps RAILCCL_METRICS_FILE up to date: every RAILCCL_METRICS_INTERVAL_S seconds, and when a
// communicator ends. Threading: the driver lock, but for create.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "src/base/settings.h"
#include "src/base/status.h"
#include "src/core/engine.h"
#include "src/core/metrics_text.h"

namespace railccl {

class Communicator;

class MetricsOutput final : public EngineClient {
 public:
  // Null when the setting names no file.
  static Result<std::unique_ptr<MetricsOutput>> create(const Settings& settings);

  void add(const Communicator* communicator) { communicators_.push_back(communicator); }
  // Its last numbers stay in the file.
  void remove(const Communicator* communicator);

  bool progress(TimeNs now) override;
  bool has_work() const override { return false; }
  TimeNs next_deadline() const override { return next_; }
  void prepare_sleep() override {}
  void finish_sleep(TimeNs /*now*/, SleepEnd /*end*/) override {}

 private:
  MetricsOutput() = default;
  void write() const;

  std::string pattern_;
  TimeNs interval_ = 0;
  TimeNs next_ = 0;
  std::vector<const Communicator*> communicators_;
  std::deque<CommMetrics> ended_;  // the last kEndedKept
};

}  // namespace railccl
