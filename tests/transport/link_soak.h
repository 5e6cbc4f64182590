// Random puts and messages in both directions over a LinkWorld, with its own oracle: every put's
// bytes are a function of its number. What was finished is attacked at once: a source that was
// released is overwritten, a target that was announced is checked, overwritten, and must stay so.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/transport/link_world.h"

namespace railccl::testing_support {

struct SoakOptions {
  uint64_t seed = 1;
  int puts = 50;      // in each direction
  int messages = 40;  // in each direction
  size_t largest_put = 120'000;
};

class LinkSoak {
 public:
  LinkSoak(LinkWorld& world, const SoakOptions& options);

  // Runs all of it to the end; false, with failures recorded, when it does not end.
  bool run(TimeNs deadline);
  // After everything has settled: nothing was delivered twice, nothing was written late.
  void check();
  bool finished() const;

 private:
  static constexpr size_t kSlots = 6;
  struct Slot {
    uint64_t put = 0;
    size_t bytes = 0;
    bool busy = false;
    bool released = false;
    bool announced = false;
  };
  struct Direction {
    std::unique_ptr<LinkBuffer> source;
    std::unique_ptr<LinkBuffer> target;
    std::array<Slot, kSlots> slots;
    int puts_left = 0;
    uint64_t puts_made = 0;
    std::vector<std::vector<std::byte>> messages;
    int messages_left = 0;
    std::vector<std::byte> unsent;  // met back-pressure
  };

  std::span<std::byte> slot_of(LinkBuffer& buffer, size_t slot) const;
  void feed(int from);
  void feed_messages(int from);
  void begin_put(int from, size_t slot);
  void on_done(int from, uint64_t token);
  void on_tag(int to, uint64_t tag);
  size_t random_size();

  LinkWorld& world_;
  SoakOptions options_;
  std::mt19937_64 random_;
  std::array<Direction, 2> directions_;  // by sender
};

}  // namespace railccl::testing_support
