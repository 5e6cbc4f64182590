#include "perftest/fabric_check/pair_test.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "perftest/fabric_check/data.h"
#include "perftest/fabric_check/rail_choice.h"
#include "perftest/fabric_check/statistics.h"

namespace railccl::perftest::fabric {
namespace {

constexpr size_t kMessages = 4;  // in flight at a time
constexpr size_t kFirstBytes = size_t{64} << 10;
constexpr size_t kMostBytes = size_t{8} << 20;
constexpr int kLeastGroups = 3;
constexpr int kMostGroups = 1000;
constexpr int kPings = 20;

// How the sender will send, told to the receiver.
struct Burst {
  uint64_t bytes = 0;  // of a message
  uint64_t groups = 0;
};

class PairTest {
 public:
  PairTest(Session& session, const PairPlan& plan, const Memory& memory)
      : session_(session), plan_(plan), memory_(memory), peer_(1 - session.rank()) {}

  // One way after the other, so that neither disturbs the other.
  Outcome<PairValue> measure() {
    PairValue value;
    for (const int sender : {0, 1}) {
      if (sender == session_.rank()) {
        PERFTEST_TRY(send_all(value));
      } else {
        PERFTEST_TRY(receive_all(value));
      }
    }
    value.state = PairState::kMeasured;
    return value;
  }

 private:
  std::byte* message(size_t index, size_t bytes) const { return memory_.data() + index * bytes; }
  DataKey key(int sender) const { return {.sender = sender, .seed = 1}; }

  Outcome<void> transfer(bool send, void* data, size_t bytes) {
    return session_.run(send ? "ncclSend" : "ncclRecv",
                        [&](ncclComm_t comm, railcclStream_t stream) {
                          return send ? ncclSend(data, bytes, ncclUint8, peer_, comm, stream)
                                      : ncclRecv(data, bytes, ncclUint8, peer_, comm, stream);
                        });
  }

  Outcome<void> transfer_group(bool send, size_t bytes) {
    return session_.run_group(
        send ? "sending to the partner" : "receiving from the partner", [&]() -> Outcome<void> {
          for (size_t i = 0; i < kMessages; ++i) {
            PERFTEST_TRY(session_.issue(
                send ? "ncclSend" : "ncclRecv", [&](ncclComm_t comm, railcclStream_t stream) {
                  return send ? ncclSend(message(i, bytes), bytes, ncclUint8, peer_, comm, stream)
                              : ncclRecv(message(i, bytes), bytes, ncclUint8, peer_, comm, stream);
                }));
          }
          return {};
        });
  }

  Outcome<double> timed_group(size_t bytes) {
    const Deadline begin = Clock::now();
    PERFTEST_TRY(transfer_group(true, bytes));
    return std::max(seconds_since(begin), 1e-9);
  }

  // Small messages there and back; half of the median round.
  Outcome<double> ping(bool first) {
    std::vector<double> times;
    uint64_t word = 0;
    for (int i = 0; i < kPings; ++i) {
      const Deadline begin = Clock::now();
      PERFTEST_TRY(transfer(first, &word, sizeof word));
      PERFTEST_TRY(transfer(!first, &word, sizeof word));
      times.push_back(seconds_since(begin));
    }
    return median(std::move(times)) / 2;
  }

  // Larger and larger groups, until one lasts for a good part of the time.
  Outcome<Burst> plan_burst() {
    size_t bytes = kFirstBytes;
    double seconds = 0;
    while (true) {
      Burst probe{.bytes = bytes, .groups = 1};
      PERFTEST_TRY(transfer(true, &probe, sizeof probe));
      const auto took = timed_group(bytes);
      if (!took) return tl::unexpected(took.error());
      seconds = *took;
      if (bytes >= kMostBytes || seconds * 8 > plan_.seconds) break;
      bytes *= 2;
    }
    const auto groups = static_cast<int>(std::min(plan_.seconds / seconds, double{kMostGroups}));
    return Burst{.bytes = bytes, .groups = static_cast<uint64_t>(std::max(groups, kLeastGroups))};
  }

  Outcome<void> send_all(PairValue& value) {
    const auto latency = ping(true);
    if (!latency) return tl::unexpected(latency.error());
    value.latency_us = *latency * 1e6;
    auto burst = plan_burst();
    if (!burst) return tl::unexpected(burst.error());
    PERFTEST_TRY(transfer(true, &*burst, sizeof(Burst)));
    std::vector<double> rates;
    for (uint64_t i = 0; i < burst->groups; ++i) {
      const auto seconds = timed_group(burst->bytes);
      if (!seconds) return tl::unexpected(seconds.error());
      rates.push_back(static_cast<double>(kMessages * burst->bytes) * 8e-9 / *seconds);
    }
    value.gbps = median(std::move(rates));
    Burst checked{.bytes = burst->bytes, .groups = 0};
    PERFTEST_TRY(transfer(true, &checked, sizeof checked));
    fill_data(key(session_.rank()), memory_.data(), kMessages * burst->bytes);
    return transfer_group(true, burst->bytes);
  }

  // The sender says what comes; the last group is the one that is checked.
  Outcome<void> receive_all(PairValue& value) {
    const auto latency = ping(false);
    if (!latency) return tl::unexpected(latency.error());
    while (true) {
      Burst burst;
      PERFTEST_TRY(transfer(false, &burst, sizeof burst));
      if (burst.bytes == 0 || burst.bytes > kMostBytes) {
        return failure(Exit::kLibrary, "the partner announced messages of {} bytes", burst.bytes);
      }
      for (uint64_t i = 0; i < burst.groups; ++i) {
        PERFTEST_TRY(transfer_group(false, burst.bytes));
      }
      if (burst.groups > 0) continue;
      const size_t bytes = kMessages * burst.bytes;
      std::fill_n(memory_.data(), bytes, std::byte{0});
      PERFTEST_TRY(transfer_group(false, burst.bytes));
      value.wrong = count_wrong(key(peer_), memory_.data(), bytes);
      return {};
    }
  }

  Session& session_;
  const PairPlan& plan_;
  const Memory& memory_;
  int peer_;
};

PairValue failed(const Failure& failure) {
  return {.state = PairState::kFailed, .error = failure.message};
}

// Until the first failure, which the values that are not there yet get.
Outcome<void> measure_into(PairSide& side, Session& session, const PairPlan& plan) {
  const auto memory = Memory::allocate(kMessages * kMostBytes);
  if (!memory) return tl::unexpected(memory.error());
  PERFTEST_TRY(session.barrier());
  const auto usable = usable_rails(session, plan.rails);
  if (!usable) return tl::unexpected(usable.error());
  PairTest test(session, plan, *memory);
  for (size_t rail = 0; rail < usable->size(); ++rail) {
    if (!(*usable)[rail]) {
      side.rails[rail] = {.state = PairState::kUnreachable, .error = "the rail does not come up"};
      continue;
    }
    std::vector<bool> alone(usable->size(), false);
    alone[rail] = true;
    PERFTEST_TRY(choose_rails(session, alone));
    auto value = test.measure();
    if (!value) return tl::unexpected(value.error());
    side.rails[rail] = *value;
  }
  PERFTEST_TRY(choose_rails(session, *usable));
  auto value = test.measure();
  if (!value) return tl::unexpected(value.error());
  side.all_rails = *value;
  return session.barrier();
}

}  // namespace

PairSide measure_pair(Session& session, const PairPlan& plan) {
  PairSide side{.rails = std::vector<PairValue>(static_cast<size_t>(plan.rails)), .all_rails = {}};
  const auto measured = measure_into(side, session, plan);
  if (measured) return side;
  bool blamed = false;
  for (PairValue& value : side.rails) {
    if (blamed || value.state != PairState::kNotMeasured) continue;
    value = failed(measured.error());
    blamed = true;
  }
  if (!blamed && side.all_rails.state == PairState::kNotMeasured) {
    side.all_rails = failed(measured.error());
  }
  return side;
}

}  // namespace railccl::perftest::fabric
