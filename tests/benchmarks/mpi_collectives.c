/* Times collectives of an MPI library, for comparison with the *_perf programs: fp32, sum, median
 * of rounds of iterations, mean over the ranks. Prints "collective bytes microseconds" per line.
 * Sizes count as nccl-tests count them: AllGather by what a rank receives, ReduceScatter by what it
 * gives.
 *
 *   mpicc -O2 mpi_collectives.c -o mpi_collectives
 *   mpirun -np 2 ./mpi_collectives all_reduce 1024 268435456 4 [seconds per size]
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kRounds = 7 };

static const char* collective;
static int ranks;
static float* input;
static float* output;

static void call(size_t bytes) {
  const int count = (int)(bytes / sizeof(float));
  const int part = count / ranks;
  if (strcmp(collective, "all_reduce") == 0) {
    MPI_Allreduce(input, output, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  } else if (strcmp(collective, "all_gather") == 0) {
    MPI_Allgather(input, part, MPI_FLOAT, output, part, MPI_FLOAT, MPI_COMM_WORLD);
  } else if (strcmp(collective, "broadcast") == 0) {
    MPI_Bcast(output, count, MPI_FLOAT, 0, MPI_COMM_WORLD);
  } else {
    MPI_Reduce_scatter_block(input, output, part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  }
}

static double time_of(size_t bytes, int iterations) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double begin = MPI_Wtime();
  for (int i = 0; i < iterations; ++i) call(bytes);
  double mine = (MPI_Wtime() - begin) / iterations;
  double sum = 0;
  MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  return sum / ranks;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a;
  const double y = *(const double*)b;
  return (x > y) - (x < y);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc < 5) {
    if (rank == 0)
      fprintf(stderr, "usage: mpi_collectives COLLECTIVE FIRST LAST FACTOR [SECONDS]\n");
    MPI_Finalize();
    return 1;
  }
  collective = argv[1];
  const size_t first = strtoull(argv[2], NULL, 10);
  const size_t last = strtoull(argv[3], NULL, 10);
  const size_t factor = strtoull(argv[4], NULL, 10);
  const double seconds = argc > 5 ? atof(argv[5]) : 0.5;
  input = malloc(last);
  output = malloc(last);
  memset(input, 0, last);
  memset(output, 0, last);
  for (size_t bytes = first; bytes <= last; bytes *= factor) {
    time_of(bytes, 1); /* connections are made */
    const double once = time_of(bytes, 2);
    int iterations = (int)(seconds / kRounds / once);
    if (iterations < 2) iterations = 2;
    if (iterations > 20000) iterations = 20000;
    /* One that alone takes longer than the time for all of them is not repeated that often. */
    const int rounds = once < seconds ? kRounds : 1;
    MPI_Bcast(&iterations, 1, MPI_INT, 0, MPI_COMM_WORLD);
    double times[kRounds];
    for (int i = 0; i < rounds; ++i) times[i] = time_of(bytes, iterations);
    qsort(times, rounds, sizeof *times, ascending);
    if (rank == 0) printf("%s %zu %.3f\n", collective, bytes, times[rounds / 2] * 1e6);
  }
  free(input);
  free(output);
  MPI_Finalize();
  return 0;
}
