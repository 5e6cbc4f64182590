// Handlers for the end of the process: exit() or return from main.
#pragma once

#include <unistd.h>

#include <cstdlib>

namespace railccl {

// What is given last is called first. Not called in a child that is forked later: it has neither
// the threads of its parent nor a part in its connections and files.
template <void (*kHandler)()>
void call_at_exit() {
  static pid_t process;
  process = getpid();
  std::atexit([] {
    if (getpid() == process) kHandler();
  });
}

}  // namespace railccl
