#include "perftest/common/process.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "perftest/common/job.h"
#include "perftest/common/memory_use.h"
#include "perftest/common/rails.h"
#include "perftest/common/rank_devices.h"
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

// Memory of a GPU is checked in a copy on the host.
Outcome<void> check_memory(const Options& options) {
  if (options.gpu_memory && options.check_iterations == 0) return {};
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
  struct Environment {
    const Job& job;
    ncclUniqueId id;
    const Gpus* gpus = nullptr;    // null: memory of the host
    Reporter* reporter = nullptr;  // rank 0's process
  };
  RankProcess(const Collective& collective, const Options& options, const Environment& around)
      : collective_(collective),
        options_(options),
        id_(around.id),
        gpus_(around.gpus),
        reporter_(around.reporter),
        processes_(around.job.processes()),
        crew_(processes_, options.threads),
        ranks_(crew_, processes_.control, options.threads),
        watchdog_(options.threads, std::chrono::seconds(options.timeout_s),
                  [this](int thread) { ranks_.fail(thread, timeout_failure()); }) {}

  // Runs all ranks of this process to their end.
  Exit run();

 private:
  Failure timeout_failure() const;
  Outcome<void> join();
  void run_rank(int thread);
  Outcome<void> measure_rank(int thread);
  Outcome<RankDevice> choose_device(int thread) const;
  Outcome<void> sweep_rank(const RankContext& context, const RankDevice& device);
  Outcome<void> note_memory(int thread, int64_t MemoryUse::*part);
  Exit finish() const;

  const Collective& collective_;
  const Options& options_;
  const ncclUniqueId id_;
  const Gpus* gpus_;
  Reporter* reporter_;
  const Processes processes_;
  Crew crew_;
  RankSet ranks_;
  Watchdog watchdog_;
  int first_local_rank_ = 0;     // of this process, among those of its machine
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
  if (const auto joined = join(); !joined) ranks_.fail(0, joined.error());
  std::vector<std::thread> threads;
  for (int thread = 1; thread < options_.threads; ++thread) {
    threads.emplace_back([this, thread] { run_rank(thread); });
  }
  run_rank(0);
  for (std::thread& thread : threads) thread.join();
  return finish();
}

Outcome<void> RankProcess::join() {
  if (gpus_ != nullptr) {
    const auto local = local_process(processes_);
    if (!local) return tl::unexpected(local.error());
    first_local_rank_ = *local * options_.threads;
  }
  if (options_.parallel_init) return {};
  return ranks_.join_all(id_, communicator_config(options_), [this](int thread) -> Outcome<void> {
    const auto device = choose_device(thread);
    if (!device) return tl::unexpected(device.error());
    return {};
  });
}

void RankProcess::run_rank(int thread) {
  if (!ranks_.failed()) {
    const auto measured = measure_rank(thread);
    if (!measured) ranks_.fail(thread, measured.error());
  }
  ranks_.leave(thread);
}

// The calling thread's, from here on: those of a machine are dealt out to its ranks in turn.
Outcome<RankDevice> RankProcess::choose_device(int thread) const {
  RankDevice device = host_device();
  if (gpus_ == nullptr) return device;
  auto chosen = gpus_->choose((first_local_rank_ + thread) % gpus_->count());
  if (!chosen) return tl::unexpected(chosen.error());
  device.device = chosen->ordinal;
  device.bus = std::move(chosen->bus);
  device.name = std::move(chosen->name);
  return device;
}

Outcome<void> RankProcess::measure_rank(int thread) {
  const auto device = choose_device(thread);
  if (!device) return tl::unexpected(device.error());
  if (options_.parallel_init) {
    PERFTEST_TRY(ranks_.join_one(thread, id_, communicator_config(options_)));
  }
  const ncclComm_t comm = ranks_.comm(thread);
  PERFTEST_TRY(note_memory(thread, &MemoryUse::initialization));
  auto memory = RankMemory::create(
      {.bytes = buffer_bytes(options_), .own_stream = own_stream(options_), .gpus = gpus_});
  if (!memory) return tl::unexpected(memory.error());
  const auto sending = RegisteredMemory::create(comm, memory->send(), options_.registration);
  if (!sending) return tl::unexpected(sending.error());
  const auto receiving = RegisteredMemory::create(comm, memory->recv(), options_.registration);
  if (!receiving) return tl::unexpected(receiving.error());
  PERFTEST_TRY(note_memory(thread, &MemoryUse::buffers));
  const auto swept = sweep_rank({.options = options_,
                                 .collective = collective_,
                                 .crew = crew_,
                                 .watchdog = watchdog_,
                                 .thread = thread,
                                 .rank = crew_.rank_of(thread),
                                 .comm = comm,
                                 .memory = *memory,
                                 .buffers = memory->buffers()},
                                *device);
  // Before memory of a GPU is given back, which waits for its kernels: they wait for this rank.
  if (!swept) ranks_.fail(thread, swept.error());
  return swept;
}

Outcome<void> RankProcess::sweep_rank(const RankContext& context, const RankDevice& device) {
  Reporter* reporter = context.thread == 0 ? reporter_ : nullptr;
  const auto devices = gather_devices(crew_, context.thread, device);
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
  const Exit exit = RankProcess(collective, options,
                                {.job = job,
                                 .id = *id,
                                 .gpus = call.gpus ? &*call.gpus : nullptr,
                                 .reporter = reporter ? &*reporter : nullptr})
                        .run();
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
