// Ctrl-C, and the launcher's request to end: noted, so that the other node is told and what was
// measured so far is kept. A second one ends the process at once.
#pragma once

#include <atomic>

namespace railccl::perftest::railperf {

// From now on SIGINT, SIGTERM and SIGHUP set interrupted(). The main thread, once.
void watch_for_interrupts();
const std::atomic<bool>& interrupted();
// Of the first one; 0: none.
int interrupt_signal();

}  // namespace railccl::perftest::railperf
