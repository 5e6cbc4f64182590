/* The NCCL 2.28.9 C API and ABI as RailCCL serves it: types, constants and functions, written anew
 * from the interface. For C (C11) and C++; also found as <nccl.h> with -I.../include/railccl. The
 * same functions under their second names are in pnccl.h, which this header includes.
 *
 * Every function returns ncclSuccess or what went wrong; ncclGetLastError has the sentence that
 * says what, where and the way out. Counts are elements of `datatype`, sizes are bytes. A stream is
 * a CUDA stream, or on a host communicator NULL (the call returns with the result) or a
 * railcclStream_t (<railccl/railccl.h>). Functions on different communicators may be called from
 * different threads at the same time; one communicator is used by one thread at a time, except for
 * ncclCommAbort, ncclCommRevoke, ncclCommGetAsyncError and ncclGetLastError: any thread, any time.
 */
#ifndef NCCL_H_ /* NCCL's own guard: whichever of the two headers comes first is the only one */
#define NCCL_H_

#include <limits.h>
#include <stddef.h>

#define NCCL_MAJOR 2
#define NCCL_MINOR 28
#define NCCL_PATCH 9
#define NCCL_SUFFIX ""
#define NCCL_VERSION_CODE 22809
/* 2.8 and before had one digit for the minor version. */
#define NCCL_VERSION(X, Y, Z) \
  (((X) <= 2 && (Y) <= 8) ? (X)*1000 + (Y)*100 + (Z) : (X)*10000 + (Y)*100 + (Z))

#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* The CUDA runtime's own declaration; repeating it is allowed, so <cuda_runtime.h> may come before,
 * after or never. */
typedef struct CUstream_st* cudaStream_t;

/* --- handles --- */
typedef struct ncclComm* ncclComm_t;            /* one rank's membership in a group of ranks */
typedef struct ncclWindow_vidmem* ncclWindow_t; /* a buffer known to every rank of a communicator */
#define NCCL_COMM_NULL NULL

/* Names a communicator to be: made by one rank, carried to the others by the caller. Secret: who
 * knows it may join. */
#define NCCL_UNIQUE_ID_BYTES 128
typedef struct {
  char internal[NCCL_UNIQUE_ID_BYTES];
} ncclUniqueId;

/* --- values --- */
typedef enum {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1, /* a CUDA call failed */
  ncclSystemError = 2,        /* the operating system, a NIC or the network refused */
  ncclInternalError = 3,      /* a bug of the library, or memory corrupted by the program */
  ncclInvalidArgument = 4,    /* one argument is wrong by itself */
  ncclInvalidUsage = 5,       /* the call, its order, or a setting is wrong or not supported */
  ncclRemoteError = 6,        /* a peer is gone, or no rail to it is left */
  ncclInProgress = 7,         /* not finished yet; ask again with ncclCommGetAsyncError */
  ncclNumResults = 8
} ncclResult_t;

typedef enum { ncclNumOps_dummy = 5 } ncclRedOp_dummy_t;
typedef enum {
  ncclSum = 0,
  ncclProd = 1,
  ncclMax = 2,
  ncclMin = 3,
  ncclAvg = 4,    /* sum divided by the number of ranks; integers truncate toward zero */
  ncclNumOps = 5, /* from here: operators made by ncclRedOpCreatePreMulSum */
  ncclMaxRedOp = 0x7fffffff >> (32 - 8 * sizeof(ncclRedOp_dummy_t))
} ncclRedOp_t;

typedef enum {
  ncclInt8 = 0,
  ncclChar = 0,
  ncclUint8 = 1,
  ncclInt32 = 2,
  ncclInt = 2,
  ncclUint32 = 3,
  ncclInt64 = 4,
  ncclUint64 = 5,
  ncclFloat16 = 6,
  ncclHalf = 6,
  ncclFloat32 = 7,
  ncclFloat = 7,
  ncclFloat64 = 8,
  ncclDouble = 8,
  ncclBfloat16 = 9,
  ncclFloat8e4m3 = 10, /* no infinities, largest value 448 */
  ncclFloat8e5m2 = 11,
  ncclNumTypes = 12
} ncclDataType_t;

/* Where the scalar of ncclRedOpCreatePreMulSum lies. */
typedef enum {
  ncclScalarDevice = 0,       /* memory of the device, read when the collective runs */
  ncclScalarHostImmediate = 1 /* host memory, read before the creating call returns */
} ncclScalarResidence_t;

#define NCCL_CONFIG_UNDEF_INT INT_MIN /* this field: the library decides */
#define NCCL_CONFIG_UNDEF_PTR NULL
#define NCCL_UNDEF_FLOAT -1.0f
#define NCCL_SPLIT_NOCOLOR -1 /* ncclCommSplit: this rank joins no new communicator */

#define NCCL_WIN_DEFAULT 0x00 /* flags of ncclCommWindowRegister */
#define NCCL_WIN_COLL_SYMMETRIC 0x01
#define NCCL_WIN_REQUIRED_ALIGNMENT 4096 /* of a window's address, in bytes */

#define NCCL_CTA_POLICY_DEFAULT 0x00 /* ncclConfig_t.CTAPolicy */
#define NCCL_CTA_POLICY_EFFICIENCY 0x01
#define NCCL_CTA_POLICY_ZERO 0x02

#define NCCL_SHRINK_DEFAULT 0x00 /* ncclCommShrink: the parent has nothing in flight */
#define NCCL_SHRINK_ABORT 0x01   /* what the parent has in flight is ended with an error first */

#define NCCL_REVOKE_DEFAULT 0x00

/* --- configuration --- */
/* Start from NCCL_CONFIG_INITIALIZER and set what matters; a field left undefined is chosen by the
 * library. Environment variables win over it. The layout is ABI: a program compiled with an older
 * header has a shorter struct, and says so in `size` and `version`. */
typedef struct ncclConfig_v22800 {
  size_t size; /* set by the initializer, as the next two */
  unsigned int magic;
  unsigned int version;
  int blocking;       /* 1 (default): calls return when done; 0: they may return ncclInProgress */
  int cgaClusterSize; /* 0..8; taken, without effect */
  int minCTAs;        /* channels at least and at most, 1..64 */
  int maxCTAs;
  const char* netName;  /* transport: "verbs", "ucx", "tcp", or NCCL's "IB" and "Socket" */
  int splitShare;       /* 1: children made by ncclCommSplit use the parent's resources */
  int trafficClass;     /* of the network packets of this communicator */
  const char* commName; /* for logs and traces */
  int collnetEnable;    /* taken, without effect */
  int CTAPolicy;        /* NCCL_CTA_POLICY_* */
  int shrinkShare;      /* as splitShare, for ncclCommShrink */
  int nvlsCTAs;         /* taken, without effect */
  int nChannelsPerNetPeer;
  int nvlinkCentricSched;
} ncclConfig_t;

/* Positional, so that it serves in C and in C++: size, magic, version, then every field undefined.
 */
#define NCCL_CONFIG_INITIALIZER                                                         \
  {                                                                                     \
    sizeof(ncclConfig_t), 0xcafebeef, NCCL_VERSION(NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH), \
        NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT,            \
        NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_PTR, NCCL_CONFIG_UNDEF_INT,            \
        NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_PTR, NCCL_CONFIG_UNDEF_INT,            \
        NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT,            \
        NCCL_CONFIG_UNDEF_INT, NCCL_CONFIG_UNDEF_INT                                    \
  }

/* What ncclGroupSimulateEnd answers. */
typedef struct ncclSimInfo_v22200 {
  size_t size;
  unsigned int magic;
  unsigned int version;
  float estimatedTime; /* microseconds */
} ncclSimInfo_t;

#define NCCL_SIM_INFO_INITIALIZER                                                        \
  {                                                                                      \
    sizeof(ncclSimInfo_t), 0x74685283, NCCL_VERSION(NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH), \
        NCCL_UNDEF_FLOAT                                                                 \
  }

/* --- memory --- */
/* Page-aligned memory that all ranks of a node reach without a copy and that rails register once:
 * device memory where the process has a CUDA device, else (and with RAILCCL_DEVICE=host) host
 * memory. size 0 gives NULL. Free with ncclMemFree only, when no operation uses it. */
ncclResult_t ncclMemAlloc(void** ptr, size_t size);
ncclResult_t ncclMemFree(void* ptr);

/* --- information --- */
ncclResult_t ncclGetVersion(int* version); /* 22809 */
/* The text of a code; never NULL, never freed. */
const char* ncclGetErrorString(ncclResult_t result);
/* The last error of `comm`, or with NULL of the calling thread, as a sentence; "" if there was
 * none. Valid until that communicator's or thread's next error. */
const char* ncclGetLastError(ncclComm_t comm);
/* Reads the log settings again. Deprecated by NCCL. */
void ncclResetDebugInit(void);

/* --- begin --- */
/* Makes an id and, in this process, the listener behind it. One rank calls it. */
ncclResult_t ncclGetUniqueId(ncclUniqueId* uniqueId);
/* Joins as `rank` of `nranks`; returns when all have come. A rank that does not come within
 * RAILCCL_RANK_TIMEOUT_S is named in the error. One thread that makes several ranks brackets the
 * calls with ncclGroupStart and ncclGroupEnd. */
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int nranks, ncclUniqueId commId, int rank);
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int nranks, ncclUniqueId commId, int rank,
                                    ncclConfig_t* config);
/* The same with `nId` ids, each made by another rank: the first contact is spread over them. */
ncclResult_t ncclCommInitRankScalable(ncclComm_t* newcomm, int nranks, int myrank, int nId,
                                      ncclUniqueId* commIds, ncclConfig_t* config);
/* `ndev` ranks in this process, rank i on device devlist[i] (NULL: i); comm has ndev elements. */
ncclResult_t ncclCommInitAll(ncclComm_t* comm, int ndev, const int* devlist);

/* --- end --- */
/* Ends what was begun; afterwards only ncclCommDestroy is left. All ranks. */
ncclResult_t ncclCommFinalize(ncclComm_t comm);
/* Finalizes if that was not done, and frees the handle. All ranks. */
ncclResult_t ncclCommDestroy(ncclComm_t comm);
/* Ends everything in flight with an error and frees the handle, without the other ranks; they get
 * ncclRemoteError. Any thread. */
ncclResult_t ncclCommAbort(ncclComm_t comm);
/* Ends everything in flight here with an error, but keeps the handle: ncclCommGetAsyncError says
 * ncclInProgress until all is quiet, then ncclSuccess, and ncclCommSplit, ncclCommShrink,
 * ncclCommDestroy and ncclCommAbort may follow (ncclCommFinalize not; one that waits ends). Any
 * thread; each rank calls it for itself. revokeFlags: NCCL_REVOKE_DEFAULT. */
ncclResult_t ncclCommRevoke(ncclComm_t comm, int revokeFlags);

/* --- communicators from communicators --- */
/* Ranks with the same color >= 0 form a new communicator, ordered by key, then by old rank;
 * NCCL_SPLIT_NOCOLOR: *newcomm is NCCL_COMM_NULL. All ranks. config NULL: as the parent. */
ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* newcomm,
                           ncclConfig_t* config);
/* A communicator without the listed ranks, in the old order; called by the ranks that stay, with
 * the same list. shrinkFlags: NCCL_SHRINK_*. */
ncclResult_t ncclCommShrink(ncclComm_t comm, int* excludeRanksList, int excludeRanksCount,
                            ncclComm_t* newcomm, ncclConfig_t* config, int shrinkFlags);

/* --- questions --- */
/* *asyncError: ncclSuccess, ncclInProgress, or the first error of the communicator. */
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* asyncError);
ncclResult_t ncclCommCount(const ncclComm_t comm, int* count);
/* The CUDA device index; -1 on a host communicator. */
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int* device);
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank);

/* --- registration: optional, saves doing it at first use --- */
ncclResult_t ncclCommRegister(const ncclComm_t comm, void* buff, size_t size, void** handle);
ncclResult_t ncclCommDeregister(const ncclComm_t comm, void* handle);
/* All ranks, same size and flags; buff aligned to NCCL_WIN_REQUIRED_ALIGNMENT. */
ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void* buff, size_t size, ncclWindow_t* win,
                                    int winFlags);
ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t win);

/* --- operators --- */
/* An operator of this rank for `datatype`: sum over ranks of scalar * input, each rank its own
 * scalar. Free with ncclRedOpDestroy; operations already issued keep it. */
ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t* op, void* scalar, ncclDataType_t datatype,
                                      ncclScalarResidence_t residence, ncclComm_t comm);
ncclResult_t ncclRedOpDestroy(ncclRedOp_t op, ncclComm_t comm);

/* --- collectives: called by all n ranks in the same order with the same count, datatype, op and
 * root; ranks that disagree get an error that names them. Buffers do not overlap, but for the
 * in-place forms given. --- */
/* recv[i] = op over ranks of send[i], i < count, on every rank. In place: send == recv. */
ncclResult_t ncclAllReduce(const void* sendbuff, void* recvbuff, size_t count,
                           ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t stream);
/* The same on `root` only; recvbuff is not used elsewhere. In place: send == recv. */
ncclResult_t ncclReduce(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream);
/* Rank r: recv[i] = op over ranks of send[r * recvcount + i]; send has n * recvcount elements.
 * In place: recv == send + r * recvcount. */
ncclResult_t ncclReduceScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                               ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t stream);
/* recv[r * sendcount + i] = rank r's send[i]. In place: send == recv + r * sendcount. */
ncclResult_t ncclAllGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                           ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream);
/* recv = root's send on every rank; sendbuff is used on root only. In place: send == recv. */
ncclResult_t ncclBroadcast(const void* sendbuff, void* recvbuff, size_t count,
                           ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t stream);
/* ncclBroadcast in place. */
ncclResult_t ncclBcast(void* buff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm,
                       cudaStream_t stream);
/* Rank r: recv[q * count + i] = rank q's send[r * count + i]; both have n * count elements. */
ncclResult_t ncclAlltoAll(const void* sendbuff, void* recvbuff, size_t count,
                          ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream);
/* On root: recv[r * count + i] = rank r's send[i]; recvbuff is used on root only. In place on root:
 * send == recv + root * count. */
ncclResult_t ncclGather(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
                        int root, ncclComm_t comm, cudaStream_t stream);
/* Rank r: recv[i] = root's send[r * count + i]; sendbuff is used on root only. In place on root:
 * recv == send + root * count. */
ncclResult_t ncclScatter(const void* sendbuff, void* recvbuff, size_t count,
                         ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t stream);

/* --- point to point: the k-th send to a peer meets its k-th receive from here, with equal count
 * and type. Calls that wait for each other belong into one group. --- */
ncclResult_t ncclSend(const void* sendbuff, size_t count, ncclDataType_t datatype, int peer,
                      ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclRecv(void* recvbuff, size_t count, ncclDataType_t datatype, int peer,
                      ncclComm_t comm, cudaStream_t stream);

/* --- groups: calls between start and end are begun together at the (outermost) end, which also
 * returns their errors. Per thread; may be nested. --- */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);
/* Ends the group without doing it; simInfo gets the predicted time. */
ncclResult_t ncclGroupSimulateEnd(ncclSimInfo_t* simInfo);

#include "pnccl.h"

#ifdef __cplusplus
}
#endif
#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#endif /* NCCL_H_ */
