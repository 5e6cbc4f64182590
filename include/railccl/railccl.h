/* What RailCCL has beyond the NCCL API: host communicators and their streams, starting from the
 * environment, what the rails carried, traces, explanations. For C (C11) and C++.
 *
 * Calls on memory of the host (any; ncclMemAlloc's is reached by the other ranks of a node without
 * a copy) take NULL or a railcclStream_t as their stream, calls on memory of a GPU a CUDA stream,
 * on the same communicator. Pinned and managed memory goes with either, and is the host's with
 * NULL. RAILCCL_DEVICE=host leaves the host's only, RAILCCL_DEVICE=cuda the GPU's.
 *
 * Functions return ncclResult_t; ncclGetLastError(NULL) has the sentence. Any thread may call them;
 * one stream is used by one thread at a time.
 */
#ifndef RAILCCL_RAILCCL_H_
#define RAILCCL_RAILCCL_H_

#include <stddef.h>
#include <stdint.h>

#include "nccl.h"

#define RAILCCL_MAJOR 0
#define RAILCCL_MINOR 1
#define RAILCCL_PATCH 0

#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0"; never NULL, never freed. */
const char* railcclVersion(void);

/* --- streams of host communicators --- */
/* Operations given to one stream run in order, after the call returned; operations on different
 * streams in any order. The same C type as a CUDA stream, so that it goes into the stream argument;
 * a stream made here given with memory of a GPU, or the other way round, is ncclInvalidUsage. */
typedef cudaStream_t railcclStream_t;

ncclResult_t railcclStreamCreate(railcclStream_t* stream);
/* Returns when all operations given to the stream so far are done: ncclSuccess, or the first error
 * of any of them, which stays. Bounded by the timeouts of the communicators. */
ncclResult_t railcclStreamSynchronize(railcclStream_t stream);
/* As railcclStreamSynchronize, but for at most `timeout_ms` milliseconds: then ncclInProgress. */
ncclResult_t railcclStreamWait(railcclStream_t stream, unsigned timeout_ms);
/* Does not wait: ncclSuccess all done, ncclInProgress not yet, else the first error. Drives the
 * progress of this process for a moment, so that polling it is enough. */
ncclResult_t railcclStreamQuery(railcclStream_t stream);
/* Waits as railcclStreamSynchronize, then frees the stream; returns what that returned. NULL is
 * fine. */
ncclResult_t railcclStreamDestroy(railcclStream_t stream);

/* --- start --- */
/* Joins the communicator of all ranks of the job, as its launcher's variables say; the first row
 * whose variables are all there counts:
 *   torchrun    RANK WORLD_SIZE
 *   Open MPI    OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE
 *   PMI         PMI_RANK PMI_SIZE
 *   Slurm       SLURM_PROCID SLURM_NTASKS
 * The ranks meet at RAILCCL_COMM_ID ("host:port"), else at MASTER_ADDR, on a port after
 * MASTER_PORT, else where the launcher's other variables lead (one host; Slurm's node list). What
 * proves that a rank belongs to the job is RAILCCL_JOB_SECRET (any text, the same on all ranks) and
 * the launcher's name for the job. Variables that are missing, contradict each other or do not
 * parse are ncclInvalidUsage, and the error names them and the ways to start. */
ncclResult_t railcclCommInitFromEnv(ncclComm_t* comm);

/* --- rails --- */
typedef enum {
  railcclRailUp = 0,
  railcclRailSuspect = 1, /* overdue, being probed */
  railcclRailDown = 2,
  railcclRailProbing = 3,
  railcclRailRejoining = 4, /* back, at a low share that grows */
  railcclRailStandby = 5    /* up; used when no rail of a better transport is: TCP beside RDMA */
} railcclRailState_t;

/* One rail of this rank, over all its peers, since the communicator began. */
typedef struct {
  char name[64];            /* "mlx5_0:1", "eth1" */
  char transport[16];       /* "verbs", "ucx", "tcp" */
  railcclRailState_t state; /* the worst towards any peer */
  int slow;                 /* 1: far slower than its siblings, demoted */
  uint64_t bytes_sent;      /* payload delivered, replays not counted twice */
  uint64_t bytes_received;
  uint64_t replayed_bytes; /* sent again over other rails after this one failed */
  double share;            /* of bytes_sent of all rails of this rank, 0..1 */
  double bytes_per_second; /* delivered over busy time, smoothed; 0: nothing measured */
  double latency_us;       /* smoothed; 0: nothing measured */
  double stall_ms_max;     /* longest time without delivery while something was in flight */
  uint32_t failures;
  uint32_t recoveries;
  int32_t rail; /* its number among the rails of this process, as railcclInfo lists them */
  int32_t reserved_word;
  uint64_t reserved[7]; /* zero */
} railcclRailStats_t;

/* Fills stats[0 .. min(*count, capacity)) in the order of the rails; *count is the number of rails
 * of this rank (0 for a rank whose peers are all in its node). stats may be NULL with capacity 0.
 */
ncclResult_t railcclCommRailStats(ncclComm_t comm, railcclRailStats_t* stats, int capacity,
                                  int* count);

/* Takes a rail of this rank (railcclRailStats_t.rail) out of use for this communicator, or lets it
 * come back: maintenance, drills, measuring one rail alone. Returns at once; what is in flight on
 * the rail is fenced and sent over the others as after a failure (docs/failover.md), towards every
 * peer, and counts as one in the statistics. It stays down, without being probed, until it is
 * switched on again; then it rejoins. Ranks switch independently: a pair of ranks uses a rail when
 * both have it on. Switching to what it is already does nothing. The last rail of a rank cannot be
 * switched off (ncclInvalidUsage); two ranks that leave each other no common rail get, after
 * RAILCCL_LINK_TIMEOUT_S, the error of a link without rails. */
ncclResult_t railcclCommSetRail(ncclComm_t comm, int rail, int enabled);

/* --- traces --- */
/* Writes this rank's trace ring (the last operations, steps, waits, chunks and failures) to `path`
 * as Chrome trace JSON, which Perfetto opens and railccl_trace merges over ranks. "%r" in path is
 * the rank, "%p" the process id, "%h" the host name. */
ncclResult_t railcclCommDumpTrace(ncclComm_t comm, const char* path);

/* --- texts ---
 * The functions below write a text of `*length` bytes, without the final NUL. At most `capacity`
 * bytes are written to `text`, always with a final NUL when capacity > 0: a longer text is cut, and
 * *length tells what it needs. text may be NULL with capacity 0. */
typedef enum { railcclText = 0, railcclJson = 1 } railcclFormat_t;

typedef enum {
  railcclAllReduce = 0,
  railcclAllGather = 1,
  railcclBroadcast = 2,
  railcclReduce = 3,
  railcclReduceScatter = 4,
  railcclAllToAll = 5,
  railcclGather = 6,
  railcclScatter = 7,
  railcclSendRecv = 8
} railcclCollective_t;

/* A call to ask about; count as in the function of the collective. */
typedef struct {
  railcclCollective_t collective;
  size_t count; /* elements */
  ncclDataType_t datatype;
  ncclRedOp_t op; /* reductions only */
  int root;       /* rooted collectives only */
} railcclCall_t;

/* What the library would do for `call` on `comm` (algorithm, channels, rails, predicted time) and
 * why, with what was rejected; call NULL: rails, topology, GPUDirect way, and the choice for every
 * collective by size. Local: no rank needs to take part. */
ncclResult_t railcclExplain(ncclComm_t comm, const railcclCall_t* call, railcclFormat_t format,
                            char* text, size_t capacity, size_t* length);

/* Version, build options, transports and the devices they see, without a communicator. */
ncclResult_t railcclInfo(railcclFormat_t format, char* text, size_t capacity, size_t* length);

/* Every setting: name, NCCL alias, type, default, value in effect and where that comes from, one
 * line of help. A setting that does not parse is in the text, and makes the result
 * ncclInvalidUsage. */
ncclResult_t railcclSettings(railcclFormat_t format, char* text, size_t capacity, size_t* length);

#ifdef __cplusplus
}
#endif
#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#endif /* RAILCCL_RAILCCL_H_ */
