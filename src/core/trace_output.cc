#include "src/core/trace_output.h"

#include <fmt/format.h>

#include <csignal>

#include "src/base/log.h"
#include "src/base/mutex.h"
#include "src/base/path_pattern.h"
#include "src/base/process_exit.h"
#include "src/base/trace.h"
#include "src/base/trace_dump.h"
#include "src/core/output_file.h"

namespace railccl {
namespace {

// What follows an error (the other ranks' answers, fences) belongs into the same file.
constexpr TimeNs kDelayAfterError = 20 * kMillisecond;
constexpr std::string_view kSignalPattern = "railccl-trace.%h.%p.json";

std::atomic<bool> signalled{false};
std::atomic<bool> failed{false};
static_assert(std::atomic<bool>::is_always_lock_free, "the signal handler stores to it");

void on_signal(int /*number*/) { signalled.store(true, std::memory_order_relaxed); }

void write(const std::string& pattern, std::string_view why) {
  static Mutex mutex;
  const MutexLock one_at_a_time(mutex);
  const auto sources = trace_sources();
  const std::string path = expand_path(pattern, sources.size() > 1 ? sources[1].rank : 0);
  const Status written = dump_trace(path, 0);
  if (written) {
    RAILCCL_INFO(Subsys::kProfile, "trace written to {} ({})", path, why);
  } else {
    RAILCCL_WARN(Subsys::kProfile, "the trace was not written: {}", written.message());
  }
}

// Never destroyed: it is read at exit.
std::string& exit_pattern() {
  static auto* const pattern = new std::string;
  return *pattern;
}

void write_at_exit() { write(exit_pattern(), "at exit"); }

Status listen(const Settings& settings) {
  const auto choice = settings.get_choice<SignalChoice>(Setting::kTraceSignal);
  if (choice == SignalChoice::kNone) return Status::ok();
  const int number = choice == SignalChoice::kUsr1 ? SIGUSR1 : SIGUSR2;
  struct sigaction present {};
  sigaction(number, nullptr, &present);
  if (present.sa_handler != SIG_DFL) {
    return error(
        Code::kInvalidUsage,
        "RAILCCL_TRACE_SIGNAL: the program already uses signal {} itself; choose the other "
        "one of USR1 and USR2, or none",
        choice == SignalChoice::kUsr1 ? "USR1" : "USR2");
  }
  struct sigaction wanted {};
  wanted.sa_handler = on_signal;
  wanted.sa_flags = SA_RESTART;
  if (sigaction(number, &wanted, nullptr) != 0) return system_error(errno, "sigaction");
  return Status::ok();
}

}  // namespace

Result<std::unique_ptr<TraceOutput>> TraceOutput::create(const Settings& settings) {
  const std::string& where = settings.get_text(Setting::kTrace);
  const bool listens =
      settings.get_choice<SignalChoice>(Setting::kTraceSignal) != SignalChoice::kNone;
  if (where == "off" && listens) {
    return settings.bad_value(Setting::kTraceSignal,
                              "none while RAILCCL_TRACE is off: there is nothing to write");
  }
  std::unique_ptr<TraceOutput> output(new TraceOutput);
  if (where != "off" && where != "ring") {
    RAILCCL_TRY(check_output_file(settings, Setting::kTrace));
    output->pattern_ = where;
    exit_pattern() = where;
    call_at_exit<write_at_exit>();
  }
  RAILCCL_TRY(listen(settings));
  if (output->pattern_.empty() && !listens) output.reset();
  return output;
}

bool TraceOutput::progress(TimeNs now) {
  if (signalled.load(std::memory_order_relaxed) && signalled.exchange(false)) {
    write(pattern_.empty() ? std::string(kSignalPattern) : pattern_, "on a signal");
  }
  if (failed.load(std::memory_order_relaxed) && failed.exchange(false)) {
    due_ = now + kDelayAfterError;
  }
  if (now < due_) return false;
  due_ = kNever;
  if (!pattern_.empty()) write(pattern_, "after an error");
  return true;
}

void request_trace_dump() { failed.store(true, std::memory_order_relaxed); }

}  // namespace railccl
