// One *_perf program: PERFTEST_COLLECTIVE is the function of collective.h that gives its
// collective.
#include "perftest/common/perf_main.h"

int main(int argc, char** argv) {
  return railccl::perftest::perf_main(railccl::perftest::PERFTEST_COLLECTIVE(), argc, argv);
}
