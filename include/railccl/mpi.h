/* Starting a communicator from MPI, in the header alone: RailCCL itself knows nothing of MPI, which
 * only carries the unique id from rank 0 to the others. For C (C11) and C++. */
#ifndef RAILCCL_MPI_H_
#define RAILCCL_MPI_H_

#include <mpi.h>

#include "nccl.h"

/* Joins, with the rank and size of `mpi`, a new communicator; called by all ranks of `mpi`. When
 * rank 0 cannot make the id, all ranks return its error. A failure of MPI itself is
 * ncclSystemError. `config` may be NULL. */
static inline ncclResult_t railcclCommInitMPIConfig(MPI_Comm mpi, ncclComm_t* comm,
                                                    ncclConfig_t* config) {
  struct {
    int result;
    ncclUniqueId id;
  } first = {ncclSuccess, {{0}}};
  int rank = 0;
  int ranks = 0;
  if (MPI_Comm_rank(mpi, &rank) != MPI_SUCCESS || MPI_Comm_size(mpi, &ranks) != MPI_SUCCESS) {
    return ncclSystemError;
  }
  if (rank == 0) first.result = (int)ncclGetUniqueId(&first.id);
  if (MPI_Bcast(&first, (int)sizeof first, MPI_BYTE, 0, mpi) != MPI_SUCCESS) {
    return ncclSystemError;
  }
  if (first.result != ncclSuccess) return (ncclResult_t)first.result;
  return ncclCommInitRankConfig(comm, ranks, first.id, rank, config);
}

static inline ncclResult_t railcclCommInitMPI(MPI_Comm mpi, ncclComm_t* comm) {
  return railcclCommInitMPIConfig(mpi, comm, NULL);
}

#endif /* RAILCCL_MPI_H_ */
