// MIN_NCHANNELS makes more channels than an algorithm asks for; each of them must be right too.
#include <gtest/gtest.h>

#include "algorithms/verifier.h"
#include "tests/algorithms/shapes.h"

namespace railccl {
namespace {

TEST(Channels, EveryAlgorithmIsRightOnChannelsBeyondItsOwn) {
  constexpr int kChannels = 9;
  int verified = 0;
  for (const int ranks : {2, 5, 8}) {
    for (const NamedLayout& layout : layouts_of(ranks)) {
      for (const Algorithm& algorithm : catalog()) {
        Shape shape{.collective = algorithm.collective,
                    .layout = layout.layout,
                    .root = ranks - 1,
                    .block = 192,
                    .piece = 64,
                    .direct = true,
                    .channels = kChannels};
        if (!algorithm.unsuitable(shape).empty()) continue;
        for (shape.channel = algorithm.channels; shape.channel < kChannels; ++shape.channel) {
          const auto counts = verify(generate_all(algorithm, shape));
          ASSERT_TRUE(counts) << describe(algorithm, shape, layout) << ", channel " << shape.channel
                              << ": " << counts.error().message();
          ++verified;
        }
      }
    }
  }
  EXPECT_GT(verified, 500);
}

}  // namespace
}  // namespace railccl
