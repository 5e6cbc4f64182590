// From what the links report to what is worth telling all ranks: changes of this rank's rails that
// last. Pure; time comes in.
//
// A rail counts with a power of two of what it is known for, and moves to another one only when it
// stays well beyond the border: a rate that wavers is no change. What changes back soon is not told
// at all, and one rail that does so does not hold up what is told of another.
#pragma once

#include <map>
#include <span>
#include <utility>

#include "src/base/clock.h"
#include "src/core/rail_picture.h"

namespace railccl {

// One rail towards one peer.
struct RailObservation {
  int rail = 0;
  int peer = 0;
  int tier = 0;                          // LinkOptions::Pair::tier
  bool up = true;                        // can be put to, or may again soon (suspect)
  bool slow = false;                     // demoted by the link
  double known_bytes_per_second = 0;     // not 0
  double measured_bytes_per_second = 0;  // delivered over busy time
  uint64_t bytes_sent = 0;               // so far
};

struct RailWatchOptions {
  TimeNs pause_ns = 100 * kMillisecond;    // between two looks
  TimeNs lasting_ns = 300 * kMillisecond;  // a rail that is told to be down or up was for so long
  TimeNs rate_lasting_ns = 2 * kSecond;    // the same for what it carries
  uint64_t sample_bytes = 1 << 20;         // sent between two looks: less says nothing of the rate
};

class RailWatch {
 public:
  // `rank_bytes_per_second`: this rank's share of its node's rails, when they are whole.
  RailWatch(const RailWatchOptions& options, double rank_bytes_per_second)
      : options_(options), rank_rate_(rank_bytes_per_second) {}

  bool due(TimeNs now) const { return now >= next_look_; }
  // True: view() has changed.
  bool look(std::span<const RailObservation> observations, TimeNs now);
  const RailView& view() const { return view_; }
  // kNever while nothing is about to change.
  TimeNs next_deadline() const { return pending_ ? next_look_ : kNever; }

 private:
  struct Condition {
    bool up = true;
    double level = 1;  // of the known rate; 0: demoted
    friend bool operator==(const Condition&, const Condition&) = default;
  };
  struct Entry {
    Condition told;
    Condition seen;
    TimeNs since = 0;     // it is seen like that
    double measured = 1;  // level, when enough was last sent to tell
    uint64_t bytes_sent = 0;
  };
  void update(const RailObservation& observation, TimeNs now, TimeNs passed, Entry& entry);
  void measure(const RailObservation& observation, TimeNs passed, Entry& entry) const;
  RailView view_of(std::span<const RailObservation> observations) const;

  RailWatchOptions options_;
  double rank_rate_;
  std::map<std::pair<int, int>, Entry> entries_;  // by peer, rail
  RailView view_;
  bool pending_ = false;  // something is seen otherwise than it was told
  TimeNs next_look_ = 0;
  TimeNs last_look_ = 0;
};

}  // namespace railccl
