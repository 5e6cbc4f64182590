// What all ranks of a communicator hold to be true of its rails, as a numbered version, and what
// one rank sees of its own. Pure data.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/core/tuner.h"
#include "transport/byte_io.h"

namespace railccl {

// One rank's rails towards the peer that they serve worst.
struct RailView {
  uint32_t down = 0;              // a bit for each local rail: no way to some peer
  uint32_t slow = 0;              // delivers much less than the start supposed, towards some peer
  uint64_t bytes_per_second = 0;  // of all rails together, towards `towards`
  int towards = -1;               // -1: whole
  bool whole() const { return down == 0 && slow == 0; }
  friend bool operator==(const RailView&, const RailView&) = default;
};

struct RailPicture {
  uint64_t version = 0;             // 0: that of the start, all rails whole
  uint64_t from_operation = 1;      // in force from this collective on
  std::map<int, RailView> reduced;  // by rank; the others are whole

  // The worst: what makes the network as slow as it is; -1: all are whole.
  int slowest_rank() const;
};

// The cost model of a picture. `rates`: what each rank's rails carry when whole, its share of its
// node's (bytes per second).
MachineModel model_of(const MachineModel& at_start, std::span<const double> rates,
                      const RailPicture& picture);

// "version 2 since operation 841: rank 3: rail 1 down (towards rank 0), 125.0 MB/s are left".
std::string to_string(const RailPicture& picture);

// The numbers in a mask of rails.
std::vector<int> rails_in(uint32_t mask);

void write(wire::ByteWriter& writer, const RailView& view);
RailView read_rail_view(wire::ByteReader& reader);

}  // namespace railccl
