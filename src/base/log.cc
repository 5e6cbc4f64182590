#include "src/base/log.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <unordered_set>

#include "src/base/mutex.h"
#include "src/base/path_pattern.h"
#include "src/base/setting_value.h"
#include "src/base/settings.h"
#include "src/base/settings_print.h"

namespace railccl {
namespace {

constexpr size_t kMaxOnceKeys = 1024;

struct LogState {
  Mutex mutex;
  bool configured RAILCCL_GUARDED_BY(mutex) = false;
  // Of DEBUG_FILE; stays open until the process ends.
  std::FILE* file RAILCCL_GUARDED_BY(mutex) = nullptr;
  LogCapture::Sink sink RAILCCL_GUARDED_BY(mutex);
  std::unordered_set<std::string> once_keys RAILCCL_GUARDED_BY(mutex);
};

// Never destroyed: threads may log while the process exits.
LogState& state() {
  static LogState* const instance = new LogState;
  return *instance;
}

thread_local int current_rank = -1;

struct SubsystemWord {
  std::string_view word;
  uint32_t bits;
};
constexpr std::array<SubsystemWord, 19> kSubsystemWords = {{
    {"INIT", static_cast<uint32_t>(Subsys::kInit)},
    {"COLL", static_cast<uint32_t>(Subsys::kColl)},
    {"P2P", static_cast<uint32_t>(Subsys::kP2p)},
    {"SHM", static_cast<uint32_t>(Subsys::kShm)},
    {"NET", static_cast<uint32_t>(Subsys::kNet)},
    {"GRAPH", static_cast<uint32_t>(Subsys::kGraph)},
    {"TUNING", static_cast<uint32_t>(Subsys::kTuning)},
    {"ENV", static_cast<uint32_t>(Subsys::kEnv)},
    {"ALLOC", static_cast<uint32_t>(Subsys::kAlloc)},
    {"CALL", static_cast<uint32_t>(Subsys::kCall)},
    {"PROXY", static_cast<uint32_t>(Subsys::kProxy)},
    {"BOOTSTRAP", static_cast<uint32_t>(Subsys::kBootstrap)},
    {"REG", static_cast<uint32_t>(Subsys::kReg)},
    {"PROFILE", static_cast<uint32_t>(Subsys::kProfile)},
    {"RAS", static_cast<uint32_t>(Subsys::kRas)},
    {"DESTROY", static_cast<uint32_t>(Subsys::kDestroy)},
    {"ALL", kAllSubsystems},
    {"NVLS", 0},
    {"ALLOC_HOST", 0},
}};

constexpr std::string_view kAllowedSubsystems =
    "[^]name,... of INIT, COLL, P2P, SHM, NET, GRAPH, TUNING, ENV, ALLOC, CALL, PROXY, BOOTSTRAP, "
    "REG, PROFILE, RAS, DESTROY, ALL";

std::string prefix(LogLevel level) {
  if (level == LogLevel::kVersion) return {};
  const std::string rank = current_rank < 0 ? "-" : fmt::format("{}", current_rank);
  const std::string_view word = level == LogLevel::kWarn   ? "WARN"
                                : level == LogLevel::kInfo ? "INFO"
                                                           : "TRACE";
  return fmt::format("{}:{}:{} [{}] RAILCCL {} ", host_name(), getpid(), gettid(), rank, word);
}

// One line stays one line, whatever a peer or a file put into the text.
std::string without_control_characters(std::string_view text) {
  std::string line(text);
  for (char& letter : line) {
    if (static_cast<unsigned char>(letter) < ' ' && letter != '\t') letter = ' ';
  }
  return line;
}

struct LogConfig {
  LogLevel level = LogLevel::kWarn;
  uint32_t subsystems = 0;
  std::FILE* file = nullptr;
};

Result<LogConfig> read_config(const Settings& settings) {
  LogConfig config;
  config.level = settings.get_choice<LogLevel>(Setting::kDebug);
  const auto subsystems = parse_subsystems(settings.get_text(Setting::kDebugSubsys));
  if (!subsystems) return settings.bad_value(Setting::kDebugSubsys, kAllowedSubsystems);
  config.subsystems = *subsystems;
  const std::string path = expand_path(settings.get_text(Setting::kDebugFile));
  if (path.empty() || config.level <= LogLevel::kVersion) return config;
  config.file = std::fopen(path.c_str(), "ae");
  if (config.file == nullptr) {
    const int reason = errno;
    return system_error(
        reason, fmt::format("RAILCCL_DEBUG_FILE ({}): cannot write {}; give a path that can be "
                            "written, or unset it",
                            settings.value(Setting::kDebugFile).origin, path));
  }
  return config;
}

void log_settings(const Settings& settings) {
  for (const std::string& warning : settings.warnings()) {
    RAILCCL_WARN(Subsys::kEnv, "{}", warning);
  }
  if (!log_enabled(LogLevel::kInfo, Subsys::kEnv)) return;
  const std::string changed = changed_settings_as_text(settings);
  std::string_view rest = changed;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    log_line(LogLevel::kInfo, "{}", rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  if (!settings.without_effect().empty()) {
    log_line(LogLevel::kInfo, "set, but without effect in RailCCL: {}",
             fmt::join(settings.without_effect(), ", "));
  }
}

}  // namespace

namespace log_internal {

std::atomic<uint8_t> level{static_cast<uint8_t>(LogLevel::kWarn)};
std::atomic<uint32_t> subsystems{static_cast<uint32_t>(Subsys::kInit) |
                                 static_cast<uint32_t>(Subsys::kBootstrap) |
                                 static_cast<uint32_t>(Subsys::kEnv)};

void write(LogLevel line_level, std::string_view text) {
  std::string line = prefix(line_level) + without_control_characters(text);
  LogState& log = state();
  const MutexLock lock(log.mutex);
  if (log.sink) {
    log.sink(line_level, line);
    return;
  }
  line += '\n';
  std::FILE* const usual = line_level == LogLevel::kWarn ? stderr : stdout;
  std::FILE* const file = log.file != nullptr ? log.file : usual;
  std::fwrite(line.data(), 1, line.size(), file);
  std::fflush(file);
}

bool first_time(std::string_view key) {
  LogState& log = state();
  const MutexLock lock(log.mutex);
  if (log.once_keys.size() >= kMaxOnceKeys) return false;
  return log.once_keys.emplace(key).second;
}

}  // namespace log_internal

Result<uint32_t> parse_subsystems(std::string_view text) {
  text = trimmed(text);
  const bool all_but = text.starts_with('^');
  if (all_but) text.remove_prefix(1);
  uint32_t bits = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view word = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const auto* const found =
        std::find_if(kSubsystemWords.begin(), kSubsystemWords.end(),
                     [&](const SubsystemWord& known) { return same_word(known.word, word); });
    if (found == kSubsystemWords.end()) {
      return error(Code::kInvalidUsage, "unknown log subsystem '{}'; allowed is {}", word,
                   kAllowedSubsystems);
    }
    bits |= found->bits;
  }
  return all_but ? kAllSubsystems & ~bits : bits;
}

Status configure_log(const Settings& settings) {
  {
    LogState& log = state();
    const MutexLock lock(log.mutex);
    if (log.configured) return Status::ok();
    RAILCCL_ASSIGN(const LogConfig config, read_config(settings));
    log.configured = true;
    log.file = config.file;
    if (!log.sink) {
      log_internal::level.store(static_cast<uint8_t>(config.level), std::memory_order_relaxed);
      log_internal::subsystems.store(config.subsystems, std::memory_order_relaxed);
    }
  }
  log_settings(settings);
  return Status::ok();
}

LogRank::LogRank(int rank) : previous_(current_rank) { current_rank = rank; }
LogRank::~LogRank() { current_rank = previous_; }

LogCapture::LogCapture(LogLevel level, uint32_t subsystems, Sink sink) {
  LogState& log = state();
  const MutexLock lock(log.mutex);
  log.sink = std::move(sink);
  previous_level_ =
      static_cast<LogLevel>(log_internal::level.exchange(static_cast<uint8_t>(level)));
  previous_subsystems_ = log_internal::subsystems.exchange(subsystems);
}

LogCapture::~LogCapture() {
  LogState& log = state();
  const MutexLock lock(log.mutex);
  log.sink = nullptr;
  log_internal::level.store(static_cast<uint8_t>(previous_level_));
  log_internal::subsystems.store(previous_subsystems_);
}

}  // namespace railccl
