#include "perftest/fabric_check/at_once_test.h"

#include <algorithm>
#include <array>

#include "perftest/fabric_check/data.h"
#include "perftest/fabric_check/rail_choice.h"
#include "perftest/fabric_check/statistics.h"

namespace railccl::perftest::fabric {
namespace {

constexpr size_t kMostMemory = size_t{128} << 20;  // of each direction
constexpr size_t kLeastBytes = size_t{64} << 10;
constexpr int kRounds = 3;

// To each of the others.
size_t message_bytes(const AtOncePlan& plan, size_t others) {
  const double wanted = plan.gbps * 1e9 / 8 * plan.seconds / kRounds;
  const double most = static_cast<double>(kMostMemory / others);
  const auto bytes =
      static_cast<size_t>(std::clamp(wanted / static_cast<double>(others), double{kLeastBytes},
                                     std::max(most, double{kLeastBytes})));
  return bytes / 64 * 64;
}

class AtOnceTest {
 public:
  AtOnceTest(Session& session, size_t bytes, std::byte* send, std::byte* receive)
      : session_(session), bytes_(bytes), send_(send), receive_(receive) {}

  Outcome<void> exchange() {
    return session_.run_group("all nodes at once", [this]() -> Outcome<void> {
      for (int peer = 0; peer < session_.ranks(); ++peer) {
        if (peer != session_.rank()) PERFTEST_TRY(exchange_with(peer));
      }
      return {};
    });
  }

  uint64_t count_wrong_elements() const {
    uint64_t wrong = 0;
    for (int peer = 0; peer < session_.ranks(); ++peer) {
      if (peer == session_.rank()) continue;
      wrong += count_wrong(key(peer, session_.rank()), receive_ + offset(peer), bytes_);
    }
    return wrong;
  }

  void fill() {
    for (int peer = 0; peer < session_.ranks(); ++peer) {
      if (peer != session_.rank()) {
        fill_data(key(session_.rank(), peer), send_ + offset(peer), bytes_);
      }
    }
  }

 private:
  // Behind each other, without one for this rank itself.
  size_t offset(int peer) const {
    const int index = peer < session_.rank() ? peer : peer - 1;
    return static_cast<size_t>(index) * bytes_;
  }
  DataKey key(int from, int to) const {
    return {.sender = from, .seed = static_cast<uint64_t>(to) + 2};
  }
  Outcome<void> exchange_with(int peer) {
    PERFTEST_TRY(session_.issue("ncclSend", [&](ncclComm_t comm, railcclStream_t stream) {
      return ncclSend(send_ + offset(peer), bytes_, ncclUint8, peer, comm, stream);
    }));
    return session_.issue("ncclRecv", [&](ncclComm_t comm, railcclStream_t stream) {
      return ncclRecv(receive_ + offset(peer), bytes_, ncclUint8, peer, comm, stream);
    });
  }

  Session& session_;
  size_t bytes_;
  std::byte* send_;
  std::byte* receive_;
};

}  // namespace

Outcome<AtOnceSide> measure_at_once(Session& session, const AtOncePlan& plan) {
  const auto others = static_cast<size_t>(session.ranks() - 1);
  const size_t bytes = message_bytes(plan, others);
  const auto send = Memory::allocate(bytes * others);
  if (!send) return tl::unexpected(send.error());
  const auto receive = Memory::allocate(bytes * others);
  if (!receive) return tl::unexpected(receive.error());
  AtOnceTest test(session, bytes, send->data(), receive->data());
  test.fill();
  // Makes the links; and what is checked is not what is timed.
  PERFTEST_TRY(test.exchange());
  PERFTEST_TRY(choose_rails(session, plan.rails));
  std::fill_n(receive->data(), receive->bytes(), std::byte{0});
  PERFTEST_TRY(test.exchange());
  AtOnceSide side{.wrong = test.count_wrong_elements()};
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) {
    PERFTEST_TRY(session.barrier());
    const Deadline begin = Clock::now();
    PERFTEST_TRY(test.exchange());
    std::vector<double> slowest = {seconds_since(begin)};
    PERFTEST_TRY(session.combine(slowest, ncclMax));
    times.push_back(slowest[0]);
  }
  const auto ranks = static_cast<double>(session.ranks());
  const double total = ranks * static_cast<double>(others) * static_cast<double>(bytes);
  side.gbps = total * 8e-9 / std::max(median(std::move(times)), 1e-9);
  return side;
}

}  // namespace railccl::perftest::fabric
