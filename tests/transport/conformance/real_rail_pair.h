// Two rails of this machine that are open, in real time, as a pair for the conformance suite.
#pragma once

#include <poll.h>

#include <array>
#include <memory>
#include <utility>

#include "src/base/clock.h"
#include "tests/transport/conformance/rail_conformance.h"

namespace railccl::testing_support {

class RealRailPair final : public RailPair {
 public:
  // `open()` opens one rail; an error fails the test.
  template <typename Open>
  explicit RealRailPair(const Open& open) : rails_{take(open()), take(open())} {}
  Rail& rail(int side) override { return *rails_[static_cast<size_t>(side)]; }
  TimeNs now() override { return system_clock().now_ns(); }
  void idle() override {
    // Prepared, looked at once more, and then asleep.
    prepared_ = !prepared_;
    if (prepared_) {
      for (const auto& rail : rails_) rail->prepare_sleep();
      return;
    }
    std::array<pollfd, 2> descriptors{pollfd{rails_[0]->wake_fd(), POLLIN, 0},
                                      pollfd{rails_[1]->wake_fd(), POLLIN, 0}};
    constexpr int kWaitMs = 20;
    poll(descriptors.data(), descriptors.size(), kWaitMs);
  }

 private:
  static std::unique_ptr<Rail> take(Result<std::unique_ptr<Rail>> rail) {
    if (rail) return std::move(*rail);
    ADD_FAILURE() << rail.error().message();
    return nullptr;
  }

  std::array<std::unique_ptr<Rail>, 2> rails_;
  bool prepared_ = false;
};

}  // namespace railccl::testing_support
