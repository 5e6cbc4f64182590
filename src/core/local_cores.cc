#include "src/core/local_cores.h"

#include <sched.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <string>

namespace railccl {
namespace {

// The path of this process in the unified hierarchy: the line "0::/path".
std::string control_group() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return {};
}

// cpu.max holds "max 100000" or "quota period".
int granted_by(const std::string& group) {
  std::ifstream file("/sys/fs/cgroup" + group + "/cpu.max");
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>((quota + period - 1) / period));
}

}  // namespace

CoreMask current_cores() {
  CoreMask cores{};
  cpu_set_t set;
  CPU_ZERO(&set);
  static_assert(sizeof set == sizeof cores);
  if (sched_getaffinity(0, sizeof set, &set) == 0) std::memcpy(&cores, &set, sizeof cores);
  return cores;
}

int count_cores(const CoreMask& cores) {
  int count = 0;
  for (const uint64_t word : cores) count += std::popcount(word);
  return count;
}

int granted_cores() {
  // Every group up to the root may set a limit; the least holds.
  int least = 0;
  for (std::string group = control_group();; group.resize(group.rfind('/'))) {
    const int granted = granted_by(group);
    if (granted != 0) least = least == 0 ? granted : std::min(least, granted);
    if (group.find('/') == std::string::npos) return least;
  }
}

}  // namespace railccl
