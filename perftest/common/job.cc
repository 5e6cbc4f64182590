#include "perftest/common/job.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#ifdef RAILCCL_HAVE_MPI
#include <railccl/mpi.h>
#endif

namespace railccl::perftest {
namespace {

// Without any of these this process is all there is; whether they are complete is the library's to
// say.
bool a_launcher_started_this() {
  constexpr const char* kVariables[] = {
      "RANK",     "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
      "PMI_RANK", "PMI_SIZE",   "SLURM_PROCID"};
  return std::ranges::any_of(kVariables, environment_has);
}

#ifdef RAILCCL_HAVE_MPI
Outcome<Communicator> join_with_mpi() {
  ncclComm_t comm = nullptr;
  PERFTEST_TRY(check("railcclCommInitMPI", railcclCommInitMPI(MPI_COMM_WORLD, &comm)));
  return Communicator(comm);
}
#else
// Never called: MpiProcess::start() has failed.
Outcome<Communicator> join_with_mpi() { return failure(Exit::kUsage, "built without MPI"); }
#endif

}  // namespace

Outcome<Job> Job::join() {
  Job job;
  if (!a_launcher_started_this()) return job;
  if (mpi_started_this()) {
    auto mpi = MpiProcess::start();
    if (!mpi) return tl::unexpected(mpi.error());
    job.mpi_.emplace(std::move(*mpi));
    auto control = join_with_mpi();
    if (!control) return tl::unexpected(control.error());
    job.control_ = std::move(*control);
  } else {
    ncclComm_t comm = nullptr;
    PERFTEST_TRY(check("railcclCommInitFromEnv", railcclCommInitFromEnv(&comm)));
    job.control_ = Communicator(comm);
  }
  const ncclComm_t comm = job.control_.get();
  PERFTEST_TRY(check("ncclCommCount", ncclCommCount(comm, &job.count_), comm));
  PERFTEST_TRY(check("ncclCommUserRank", ncclCommUserRank(comm, &job.index_), comm));
  if (job.count_ == 1) job.control_ = Communicator();
  return job;
}

Processes Job::processes() const {
  return {.index = index_, .count = count_, .control = control_.get()};
}

Outcome<ncclUniqueId> Job::share_unique_id() const {
  // With its result, so that all know when the first process cannot make one.
  struct {
    ncclUniqueId id{};
    int32_t result = ncclSuccess;
  } shared;
  if (index_ == 0) shared.result = ncclGetUniqueId(&shared.id);
  if (control_) {
    PERFTEST_TRY(check("ncclBcast between processes",
                       ncclBcast(&shared, sizeof shared, ncclUint8, 0, control_.get(), nullptr),
                       control_.get()));
  }
  PERFTEST_TRY(check("ncclGetUniqueId", static_cast<ncclResult_t>(shared.result)));
  return shared.id;
}

}  // namespace railccl::perftest
