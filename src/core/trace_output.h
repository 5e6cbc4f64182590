// Where the trace of this process goes (RAILCCL_TRACE, RAILCCL_TRACE_SIGNAL): to a file when the
// process ends or a communicator does with an error, and, on a signal, to the same file or to
// railccl-trace.HOST.PID.json in the current directory. One per process; the progress engine
// writes.
#pragma once

#include <memory>
#include <string>

#include "src/base/settings.h"
#include "src/base/status.h"
#include "src/core/engine.h"

namespace railccl {

class TraceOutput final : public EngineClient {
 public:
  // Null when there is nothing to do. Errors: a file that cannot be written, a signal without a
  // trace. From then on the process writes at its end and listens to the signal.
  static Result<std::unique_ptr<TraceOutput>> create(const Settings& settings);

  bool progress(TimeNs now) override;
  bool has_work() const override { return false; }
  TimeNs next_deadline() const override { return due_; }
  void prepare_sleep() override {}
  void finish_sleep(TimeNs /*now*/, SleepEnd /*end*/) override {}

 private:
  TraceOutput() = default;
  std::string pattern_;  // of the file; empty: RAILCCL_TRACE names none
  TimeNs due_ = kNever;  // of a dump that was asked for
};

// A communicator ends with an error: its trace is written soon, when RAILCCL_TRACE names a file.
// Any thread; returns at once.
void request_trace_dump();

}  // namespace railccl
