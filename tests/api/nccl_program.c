/* A program written for NCCL: built against the CUDA toolkit's nccl.h, linked to our libnccl.so.2,
 * AllReduce over host memory with two ranks as threads. */
#include <nccl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { kRanks = 2, kCount = 100000 };

static ncclUniqueId id;

static void check(ncclResult_t result, const char* what) {
  if (result == ncclSuccess) return;
  fprintf(stderr, "%s: %s: %s\n", what, ncclGetErrorString(result), ncclGetLastError(NULL));
  exit(1);
}

static void* run(void* argument) {
  const int rank = (int)(long)argument;
  ncclComm_t comm;
  check(ncclCommInitRank(&comm, kRanks, id, rank), "ncclCommInitRank");
  float* data = malloc(kCount * sizeof(float));
  for (int i = 0; i < kCount; ++i) data[i] = (float)(i % 1000 + rank);
  check(ncclAllReduce(data, data, kCount, ncclFloat, ncclSum, comm, NULL), "ncclAllReduce");
  for (int i = 0; i < kCount; ++i) {
    if (data[i] != (float)(2 * (i % 1000) + 1)) {
      fprintf(stderr, "rank %d: element %d is %f\n", rank, i, data[i]);
      exit(1);
    }
  }
  free(data);
  check(ncclCommDestroy(comm), "ncclCommDestroy");
  return NULL;
}

int main(void) {
  int version = 0;
  pthread_t threads[kRanks];
  check(ncclGetVersion(&version), "ncclGetVersion");
  if (version != NCCL_VERSION_CODE) {
    fprintf(stderr, "version %d, the header says %d\n", version, NCCL_VERSION_CODE);
    return 1;
  }
  check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  for (long rank = 0; rank < kRanks; ++rank) {
    pthread_create(&threads[rank], NULL, run, (void*)rank);
  }
  for (int rank = 0; rank < kRanks; ++rank) pthread_join(threads[rank], NULL);
  printf("AllReduce of %d floats over %d ranks: all right\n", kCount, kRanks);
  return 0;
}
