#include "perftest/common/mpi_process.h"

#include <cstdlib>

#ifdef RAILCCL_HAVE_MPI
#include <mpi.h>
#endif

namespace railccl::perftest {

bool environment_has(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool mpi_started_this() {
  return environment_has("OMPI_COMM_WORLD_SIZE") && !environment_has("MASTER_ADDR") &&
         !environment_has("RAILCCL_COMM_ID") && !environment_has("NCCL_COMM_ID");
}

#ifdef RAILCCL_HAVE_MPI

Outcome<MpiProcess> MpiProcess::start() {
  MpiProcess process;
  if (MPI_Init(nullptr, nullptr) != MPI_SUCCESS) {
    return failure(Exit::kUsage, "MPI_Init failed");
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &process.rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &process.ranks_);
  return process;
}

MpiProcess::~MpiProcess() {
  if (ranks_ > 0) MPI_Finalize();
}

Outcome<void> MpiProcess::broadcast(std::span<std::byte> bytes) const {
  const auto count = static_cast<int>(bytes.size());
  if (MPI_Bcast(bytes.data(), count, MPI_BYTE, 0, MPI_COMM_WORLD) == MPI_SUCCESS) return {};
  return failure(Exit::kLibrary, "MPI_Bcast of {} bytes failed", count);
}

#else

Outcome<MpiProcess> MpiProcess::start() {
  return failure(Exit::kUsage,
                 "started by mpirun, but built without MPI: install libopenmpi-dev and build "
                 "again, or set MASTER_ADDR and MASTER_PORT (mpirun -x), or use --local");
}

MpiProcess::~MpiProcess() = default;

Outcome<void> MpiProcess::broadcast(std::span<std::byte> /*bytes*/) const {
  return failure(Exit::kUsage, "built without MPI");
}

#endif

}  // namespace railccl::perftest
