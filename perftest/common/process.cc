#include "perftest/common/process.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "perftest/common/job.h"
#include "perftest/common/memory_use.h"
#include "perftest/common/rails.h"
#include "perftest/common/rank_set.h"
#include "perftest/common/reporter.h"
#include "perftest/common/sweep.h"

namespace railccl::perftest {
namespace {

ncclConfig_t communicator_config(const Options& options) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  if (options.cta_policy) config.CTAPolicy = *options.cta_policy;
  return config;
}

size_t buffer_bytes(const Options& options) {
  return options.sizes.max_bytes + static_cast<size_t>(options.unalign) * 8 + kGuardBytes;
}

Outcome<void> check_memory(const Options& options) {
  const double needed = 2.0 * static_cast<double>(buffer_bytes(options)) * options.threads;
  if (needed < static_cast<double>(machine_bytes())) return {};
  return failure(Exit::kUsage,
                 "-e {} with -t {} needs {:.1f} GB for buffers, this machine has {:.1f} GB",
                 options.sizes.max_bytes, options.threads, needed / 1e9,
                 static_cast<double>(machine_bytes()) / 1e9);
}

std::optional<double> wanted_bandwidth() {
  const char* text = std::getenv("NCCL_TESTS_MIN_BW");
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::atof(text);
}

// The process while its ranks run. Its parts end in the reverse order.
class RankProcess {
 public:
  RankProcess(const Collective& collective, const Options& options, const Job& job,
              const ncclUniqueId& id, Reporter* reporter)
      : collective_(collective),
        options_(options),
        id_(id),
        reporter_(reporter),
        crew_(job.processes(), options.threads),
        ranks_(crew_, job.processes().control, options.threads),
        watchdog_(options.threads, std::chrono::seconds(options.timeout_s),
                  [this](int thread) { ranks_.fail(thread, timeout_failure()); }) {}

  // Runs all ranks of this process to their end.
  Exit run();

 private:
  Failure timeout_failure() const;
  void run_rank(int thread);
  Outcome<void> measure_rank(int thread);
  Outcome<void> sweep_rank(const RankContext& context);
  Outcome<std::vector<RankDevice>> gather_devices(int thread);
  Outcome<void> note_memory(int thread, int64_t MemoryUse::*part);
  Exit finish() const;

  const Collective& collective_;
  const Options& options_;
  const ncclUniqueId id_;
  Reporter* reporter_;
  Crew crew_;
  RankSet ranks_;
  Watchdog watchdog_;
  int64_t resident_before_ = 0;  // the next part of memory_ (thread 0)
  MemoryUse memory_;
  SweepTotals totals_;  // thread 0's; the same on all ranks
};

Failure RankProcess::timeout_failure() const {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return {Exit::kTimeout, fmt::format("{}: Test timeout ({}s)", host.data(), options_.timeout_s)};
}

Exit RankProcess::run() {
  resident_before_ = resident_bytes();
  if (!options_.parallel_init) {
    const auto joined = ranks_.join_all(id_, communicator_config(options_));
    if (!joined) ranks_.fail(0, joined.error());
  }
  std::vector<std::thread> threads;
  for (int thread = 1; thread < options_.threads; ++thread) {
    threads.emplace_back([this, thread] { run_rank(thread); });
  }
  run_rank(0);
  for (std::thread& thread : threads) thread.join();
  return finish();
}

void RankProcess::run_rank(int thread) {
  if (!ranks_.failed()) {
    const auto measured = measure_rank(thread);
    if (!measured) ranks_.fail(thread, measured.error());
  }
  ranks_.leave(thread);
}

Outcome<void> RankProcess::measure_rank(int thread) {
  if (options_.parallel_init) {
    PERFTEST_TRY(ranks_.join_one(thread, id_, communicator_config(options_)));
  }
  const ncclComm_t comm = ranks_.comm(thread);
  PERFTEST_TRY(note_memory(thread, &MemoryUse::initialization));
  const auto send = Memory::allocate(buffer_bytes(options_));
  if (!send) return tl::unexpected(send.error());
  const auto recv = Memory::allocate(buffer_bytes(options_));
  if (!recv) return tl::unexpected(recv.error());
  std::memset(send->data(), 0, send->bytes());
  std::memset(recv->data(), 0, recv->bytes());
  const auto sending = RegisteredMemory::create(comm, *send, options_.registration);
  if (!sending) return tl::unexpected(sending.error());
  const auto receiving = RegisteredMemory::create(comm, *recv, options_.registration);
  if (!receiving) return tl::unexpected(receiving.error());
  const auto stream = Stream::create(options_.own_stream);
  if (!stream) return tl::unexpected(stream.error());
  PERFTEST_TRY(note_memory(thread, &MemoryUse::buffers));
  return sweep_rank({.options = options_,
                     .collective = collective_,
                     .crew = crew_,
                     .watchdog = watchdog_,
                     .thread = thread,
                     .rank = crew_.rank_of(thread),
                     .comm = comm,
                     .stream = *stream,
                     .buffers = {send->data(), recv->data()}});
}

Outcome<void> RankProcess::sweep_rank(const RankContext& context) {
  Reporter* reporter = context.thread == 0 ? reporter_ : nullptr;
  const auto devices = gather_devices(context.thread);
  if (!devices) return tl::unexpected(devices.error());
  int version = 0;
  PERFTEST_TRY(check("ncclGetVersion", ncclGetVersion(&version)));
  if (reporter != nullptr) reporter->head(*devices, version);
  const auto totals = sweep(context, reporter);
  if (!totals) return tl::unexpected(totals.error());
  if (context.thread == 0) totals_ = *totals;
  PERFTEST_TRY(note_memory(context.thread, &MemoryUse::collectives));
  const auto rails = gather_rails(crew_, context.thread, context.comm);
  if (!rails) return tl::unexpected(rails.error());
  if (reporter != nullptr) reporter->rails(*rails);
  return {};
}

Outcome<std::vector<RankDevice>> RankProcess::gather_devices(int thread) {
  struct Wire {
    int32_t process_id;
    char host[60];
  } mine = {};
  mine.process_id = getpid();
  gethostname(mine.host, sizeof mine.host - 1);
  const auto all = crew_.all_gather(thread, std::as_bytes(std::span(&mine, 1)));
  if (!all) return tl::unexpected(all.error());
  std::vector<RankDevice> devices;
  for (int rank = 0; rank < crew_.ranks(); ++rank) {
    Wire wire;
    std::memcpy(&wire, all->data() + static_cast<size_t>(rank) * sizeof wire, sizeof wire);
    devices.push_back({.rank = rank, .process_id = wire.process_id, .host = wire.host});
  }
  return devices;
}

// What this process grew by since the last note; the process that grew most counts.
Outcome<void> RankProcess::note_memory(int thread, int64_t MemoryUse::*part) {
  if (!options_.memory_report) return {};
  PERFTEST_TRY(crew_.barrier(thread));
  const int64_t now = resident_bytes();
  const auto grown =
      crew_.combine(thread, static_cast<double>(now - resident_before_), Average::kMax);
  if (!grown) return tl::unexpected(grown.error());
  if (thread == 0) {
    memory_.*part = static_cast<int64_t>(*grown);
    resident_before_ = now;
  }
  return crew_.barrier(thread);
}

Exit RankProcess::finish() const {
  if (const auto failed = ranks_.failed()) return *failed;
  Summary summary;
  summary.failed_measurements = totals_.failed_measurements;
  summary.mean_bus_bandwidth =
      totals_.measurements > 0
          ? totals_.bus_bandwidth_sum / static_cast<double>(totals_.measurements)
          : 0;
  summary.wanted_bus_bandwidth = wanted_bandwidth();
  if (const char* error = ncclGetLastError(nullptr); error != nullptr) summary.error = error;
  if (reporter_ != nullptr) {
    reporter_->foot(summary, options_.memory_report ? std::optional(memory_) : std::nullopt);
  }
  const bool fine = summary.failed_measurements == 0 && summary.bandwidth_is_fine();
  return fine ? Exit::kSuccess : Exit::kWrong;
}

Outcome<Exit> run_joined(const Collective& collective, const Options& options,
                         const ProgramCall& call, const Job& job) {
  const int ranks = job.processes().count * options.threads;
  if (collective.rooted && options.root >= ranks) {
    return failure(Exit::kUsage, "-r {}: there are only {} ranks", options.root, ranks);
  }
  int version = 0;
  PERFTEST_TRY(check("ncclGetVersion", ncclGetVersion(&version)));
  std::optional<Reporter> reporter;
  if (job.processes().index == 0) {
    std::optional<JsonReport> json;
    if (!options.json_file.empty()) {
      auto made = JsonReport::create(options.json_file, call.arguments, version);
      if (!made) return tl::unexpected(made.error());
      json = std::move(*made);
    }
    reporter.emplace(call.program, options, stdout, std::move(json));
  }
  const auto id = job.share_unique_id();
  if (!id) return tl::unexpected(id.error());
  const Exit exit =
      RankProcess(collective, options, job, *id, reporter ? &*reporter : nullptr).run();
  if (reporter) PERFTEST_TRY(reporter->close());
  return exit;
}

}  // namespace

Exit run_process(const Collective& collective, const Options& options, const ProgramCall& call) {
  const auto say = [&](const Failure& failure) {
    fmt::print(stderr, "{}: {}\n", call.program, failure.message);
    return failure.exit;
  };
  if (const auto fits = check_memory(options); !fits) return say(fits.error());
  auto job = Job::join();
  if (!job) return say(job.error());
  const auto exit = run_joined(collective, options, call, *job);
  // Whoever waits for this process at its end waits in vain after an error.
  if (!exit || (*exit != Exit::kSuccess && *exit != Exit::kWrong)) job->abandon();
  return exit ? *exit : say(exit.error());
}

}  // namespace railccl::perftest
