// Log lines, as NCCL users know them: levels and subsystems of NCCL_DEBUG and NCCL_DEBUG_SUBSYS,
// the prefix `host:pid:tid [rank] RAILCCL WARN ...`, one write per line. Any thread may log. The
// arguments of a line that is not printed are not evaluated. Not for the hot path, which has the
// trace ring (trace_ring.h).
//
// Where lines go: to DEBUG_FILE if it is set (%h host name, %p process id, %% a percent sign);
// otherwise warnings to stderr, because a program's standard output may be read by another program
// and an error must be seen all the same, and everything else to stdout, as NCCL does. Before
// configure_log, and by default, only warnings are printed (NCCL's default is nothing at all).
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "src/base/status.h"

namespace railccl {

class Settings;

// Each level includes those before it. The order is that of the words of RAILCCL_DEBUG.
enum class LogLevel : uint8_t { kNone, kVersion, kWarn, kInfo, kTrace };

// What a line is about, one bit each. Warnings are printed whatever their subsystem.
enum class Subsys : uint32_t {
  kInit = 1u << 0,
  kColl = 1u << 1,
  kP2p = 1u << 2,
  kShm = 1u << 3,
  kNet = 1u << 4,
  kGraph = 1u << 5,
  kTuning = 1u << 6,
  kEnv = 1u << 7,
  kAlloc = 1u << 8,
  kCall = 1u << 9,
  kProxy = 1u << 10,
  kBootstrap = 1u << 11,
  kReg = 1u << 12,
  kProfile = 1u << 13,
  kRas = 1u << 14,
  kDestroy = 1u << 15,
};
constexpr uint32_t kAllSubsystems = (1u << 16) - 1;

// "INIT,NET", "ALL", "^PROXY" (all but): the bits, or an error that names the unknown word. Words
// of NCCL without a counterpart here (NVLS, ALLOC_HOST) are accepted.
Result<uint32_t> parse_subsystems(std::string_view text);

// Opens the log as DEBUG, DEBUG_SUBSYS and DEBUG_FILE say, then logs what was set (INFO, ENV) and
// the warnings of the settings. The first call of the process counts; later ones only answer ok.
Status configure_log(const Settings& settings);

// The rank shown in this thread's lines while the object lives; nests. Threads that act for no rank
// show "-".
class LogRank {
 public:
  explicit LogRank(int rank);
  ~LogRank();
  LogRank(const LogRank&) = delete;
  LogRank& operator=(const LogRank&) = delete;

 private:
  int previous_;
};

// For tests: lines (without the newline) go to `sink` instead, at this level and these subsystems,
// until the object dies. One at a time per process.
class LogCapture {
 public:
  using Sink = std::function<void(LogLevel, std::string_view line)>;
  LogCapture(LogLevel level, uint32_t subsystems, Sink sink);
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

 private:
  LogLevel previous_level_;
  uint32_t previous_subsystems_;
};

namespace log_internal {
extern std::atomic<uint8_t> level;        // a LogLevel
extern std::atomic<uint32_t> subsystems;  // bits of Subsys; for INFO and TRACE
[[gnu::cold]] void write(LogLevel level, std::string_view text);
// True the first time for this key in this process. The table is bounded: when it is full every
// new key answers false, so that strangers cannot fill memory or the log.
bool first_time(std::string_view key);
}  // namespace log_internal

inline bool log_enabled(LogLevel level, Subsys subsys) {
  if (static_cast<uint8_t>(level) > log_internal::level.load(std::memory_order_relaxed)) {
    return false;
  }
  return level <= LogLevel::kWarn || (log_internal::subsystems.load(std::memory_order_relaxed) &
                                      static_cast<uint32_t>(subsys)) != 0;
}

template <typename... Args>
[[gnu::cold]] void log_line(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  log_internal::write(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace railccl

#define RAILCCL_LOG_IMPL_(level, subsys, ...)                                           \
  do {                                                                                  \
    if (::railccl::log_enabled(level, subsys)) ::railccl::log_line(level, __VA_ARGS__); \
  } while (false)

// RAILCCL_INFO(Subsys::kNet, "rail {} is {}", name, state);
#define RAILCCL_WARN(subsys, ...) RAILCCL_LOG_IMPL_(::railccl::LogLevel::kWarn, subsys, __VA_ARGS__)
#define RAILCCL_INFO(subsys, ...) RAILCCL_LOG_IMPL_(::railccl::LogLevel::kInfo, subsys, __VA_ARGS__)
#define RAILCCL_TRACE_LOG(subsys, ...) \
  RAILCCL_LOG_IMPL_(::railccl::LogLevel::kTrace, subsys, __VA_ARGS__)

// A warning printed once per process for each key (a text: "stranger 10.0.0.7"), so that what
// others can cause at will cannot flood the log.
#define RAILCCL_WARN_ONCE(subsys, key, ...)                           \
  do {                                                                \
    if (::railccl::log_enabled(::railccl::LogLevel::kWarn, subsys) && \
        ::railccl::log_internal::first_time(key)) {                   \
      ::railccl::log_line(::railccl::LogLevel::kWarn, __VA_ARGS__);   \
    }                                                                 \
  } while (false)
