#include "perftest/rail_perf/interrupt.h"

#include <signal.h>

namespace railccl::perftest::railperf {
namespace {

std::atomic<bool> noted{false};
std::atomic<int> first_signal{0};

// The default action is restored by SA_RESETHAND.
void note(int signal_number) {
  first_signal.store(signal_number);
  noted.store(true);
}

}  // namespace

void watch_for_interrupts() {
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
}

const std::atomic<bool>& interrupted() { return noted; }

int interrupt_signal() { return first_signal.load(); }

}  // namespace railccl::perftest::railperf
