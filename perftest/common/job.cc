#include "perftest/common/job.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#ifdef RAILCCL_HAVE_MPI
#include <railccl/mpi.h>
#endif

namespace railccl::perftest {
namespace {

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// Without any of these this process is all there is; whether they are complete is the library's to
// say.
bool a_launcher_started_this() {
  constexpr const char* kVariables[] = {
      "RANK",     "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
      "PMI_RANK", "PMI_SIZE",   "SLURM_PROCID"};
  return std::ranges::any_of(kVariables, is_set);
}

// mpirun's variables alone say no address: then MPI itself carries the id.
bool mpi_started_this() {
  return is_set("OMPI_COMM_WORLD_SIZE") && !is_set("MASTER_ADDR") && !is_set("RAILCCL_COMM_ID") &&
         !is_set("NCCL_COMM_ID");
}

}  // namespace

#ifdef RAILCCL_HAVE_MPI

class Job::Mpi {
 public:
  ~Mpi() { MPI_Finalize(); }
};

Outcome<Communicator> Job::join_with_mpi(MpiHandle& mpi) {
  if (MPI_Init(nullptr, nullptr) != MPI_SUCCESS) {
    return failure(Exit::kUsage, "MPI_Init failed");
  }
  mpi.reset(new Mpi());
  ncclComm_t comm = nullptr;
  PERFTEST_TRY(check("railcclCommInitMPI", railcclCommInitMPI(MPI_COMM_WORLD, &comm)));
  return Communicator(comm);
}

#else

class Job::Mpi {};

Outcome<Communicator> Job::join_with_mpi(MpiHandle&) {
  return failure(Exit::kUsage,
                 "started by mpirun, but built without MPI: install libopenmpi-dev and build "
                 "again, or set MASTER_ADDR and MASTER_PORT (mpirun -x), or use --local");
}

#endif

void Job::EndMpi::operator()(Mpi* mpi) const { delete mpi; }

Outcome<Job> Job::join() {
  Job job;
  if (!a_launcher_started_this()) return job;
  if (mpi_started_this()) {
    auto control = join_with_mpi(job.mpi_);
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
