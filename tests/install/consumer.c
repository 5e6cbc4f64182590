/* What a program outside the tree is: it knows the installed headers and libraries only. Two ranks
 * as threads, AllReduce over host memory. */
#include <pthread.h>
#include <railccl/nccl.h>
#include <railccl/railccl.h>
#include <stdio.h>

enum { kRanks = 2, kCount = 1000 };

static ncclUniqueId id;

static void* run(void* argument) {
  const int rank = (int)(long)argument;
  double data[kCount];
  for (int i = 0; i < kCount; ++i) data[i] = i + rank;
  ncclComm_t comm;
  ncclResult_t result = ncclCommInitRank(&comm, kRanks, id, rank);
  if (result == ncclSuccess)
    result = ncclAllReduce(data, data, kCount, ncclDouble, ncclSum, comm, NULL);
  if (result == ncclSuccess) result = ncclCommDestroy(comm);
  if (result != ncclSuccess) {
    fprintf(stderr, "rank %d: %s\n", rank, ncclGetLastError(NULL));
    return argument;
  }
  for (int i = 0; i < kCount; ++i) {
    if (data[i] != 2 * i + 1) return argument;
  }
  printf("rank %d: right\n", rank);
  return NULL;
}

int main(void) {
  if (ncclGetUniqueId(&id) != ncclSuccess) return 1;
  pthread_t threads[kRanks];
  for (long rank = 0; rank < kRanks; ++rank) pthread_create(&threads[rank], NULL, run, (void*)rank);
  for (int rank = 0; rank < kRanks; ++rank) pthread_join(threads[rank], NULL);
  return 0;
}
