/* What the memory of this machine carries: processes, one per core, copy blocks that no cache holds
 * at the same time. Prints the bytes that all of them read and wrote per second.
 *
 *   cc -O2 memory_rate.c -o memory_rate
 *   ./memory_rate PROCESSES SECONDS
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kBlock = 128 << 20 };

struct Shared {
  atomic_int ready;
  double rates[64];
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double copy_for(struct Shared* shared, int processes, double seconds) {
  char* from = malloc(kBlock);
  char* to = malloc(kBlock);
  memset(from, 1, kBlock);
  memset(to, 2, kBlock);
  atomic_fetch_add(&shared->ready, 1);
  while (atomic_load(&shared->ready) < processes) usleep(100);
  const double begin = now();
  double copied = 0;
  double end = begin;
  while (end < begin + seconds) {
    memcpy(to, from, kBlock);
    __asm__ volatile("" : : "r"(to) : "memory"); /* the copy is wanted */
    copied += kBlock;
    end = now();
  }
  return 2 * copied / (end - begin);
}

int main(int argc, char** argv) {
  const int processes = argc == 3 ? atoi(argv[1]) : 0;
  if (processes < 1 || processes > 64) {
    fprintf(stderr, "usage: memory_rate PROCESSES(1-64) SECONDS\n");
    return 1;
  }
  struct Shared* shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  for (int i = 0; i < processes; ++i) {
    if (fork() != 0) continue;
    shared->rates[i] = copy_for(shared, processes, atof(argv[2]));
    _exit(0);
  }
  while (wait(NULL) > 0) continue;
  double sum = 0;
  for (int i = 0; i < processes; ++i) sum += shared->rates[i];
  printf("%.0f\n", sum);
  return 0;
}
