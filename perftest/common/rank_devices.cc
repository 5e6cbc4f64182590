#include "perftest/common/rank_devices.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace railccl::perftest {
namespace {

struct Wire {
  int32_t process_id = 0;
  int32_t device = 0;
  std::array<char, 60> host{};
  std::array<char, 20> bus{};
  std::array<char, 64> name{};
};

// What is too long is cut; the last byte stays 0.
template <size_t N>
void put(std::array<char, N>& to, const std::string& text) {
  std::memcpy(to.data(), text.data(), std::min(text.size(), N - 1));
}

}  // namespace

RankDevice host_device() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return {.process_id = getpid(), .host = host.data()};
}

Outcome<std::vector<RankDevice>> gather_devices(Crew& crew, int thread, const RankDevice& mine) {
  Wire own{.process_id = mine.process_id, .device = mine.device};
  put(own.host, mine.host);
  put(own.bus, mine.bus);
  put(own.name, mine.name);
  const auto all = crew.all_gather(thread, std::as_bytes(std::span(&own, 1)));
  if (!all) return tl::unexpected(all.error());
  std::vector<RankDevice> devices;
  for (int rank = 0; rank < crew.ranks(); ++rank) {
    Wire wire;
    std::memcpy(&wire, all->data() + static_cast<size_t>(rank) * sizeof wire, sizeof wire);
    devices.push_back({.rank = rank,
                       .process_id = wire.process_id,
                       .host = wire.host.data(),
                       .device = wire.device,
                       .bus = wire.bus.data(),
                       .name = wire.name.data()});
  }
  return devices;
}

Outcome<int> local_process(const Processes& processes) {
  if (processes.control == nullptr) return 0;
  using Host = decltype(Wire::host);
  Host own{};
  put(own, host_device().host);
  std::vector<Host> all(static_cast<size_t>(processes.count));
  PERFTEST_TRY(check(
      "ncclAllGather of hosts",
      ncclAllGather(own.data(), all.data(), sizeof own, ncclUint8, processes.control, nullptr),
      processes.control));
  return static_cast<int>(std::count(all.begin(), all.begin() + processes.index, own));
}

}  // namespace railccl::perftest
