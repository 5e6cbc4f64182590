// Deliberate defects, to see that the simulation finds such things: each makes the library behave
// as if one rule of the protocol were not kept. They live in decorators of this folder only; the
// library knows nothing of them (docs/failover.md has the table).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "transport/rail.h"
#include "transport/sim/sim_network.h"
#include "transport/wire.h"

namespace railccl::simulate {

enum class Defect : uint8_t {
  kNone,
  kFenceAfterVerdict,    // the verdict goes out, then the endpoint is closed
  kReleaseAtCompletion,  // a put is released when its chunks have completed locally
  kOldEpochAccepted,     // a verdict on an older epoch is taken for one on the present
  kChunkCountedTwice,    // a chunk that comes again counts for one that is missing
  kCreditLost,           // a signal that comes while a rail is down is forgotten
  kNoDrainOnClose,       // an endpoint counts as closed with puts outstanding
  kAckBeforeWhole,       // a put is acknowledged when a part of it is here
  kPictureEarly,         // some ranks use a new picture of the rails one operation too early
  kPromiseForgotten,     // what a rank below has begun does not count for when a picture is used
  kNoHold,               // ranks go on while a picture is being agreed on
};
std::string_view defect_name(Defect defect);
std::optional<Defect> defect_by_name(std::string_view name);
std::vector<Defect> all_defects();

// What the decorated rails of one rank remember together, by link.
struct DefectMemory {
  struct OutgoingPut {
    uint64_t total = 0;
    uint64_t completed = 0;
    std::set<uint64_t> done;  // offsets
  };
  struct IncomingPut {
    uint64_t total = 0;
    std::map<uint64_t, uint64_t> arrived;  // offset -> bytes
    uint64_t bytes = 0;
  };
  struct Link {
    std::map<uint32_t, OutgoingPut> outgoing;
    uint32_t released = 0;  // all puts before this one
    std::map<uint32_t, IncomingPut> incoming;
    uint32_t messages = 0;  // last acknowledged
  };
  std::map<uint64_t, Link> links;  // by tag / 256
};

struct DefectRailConfig {
  Defect defect = Defect::kNone;
  SimNetwork* network = nullptr;
  DefectMemory* memory = nullptr;  // outlives the rail
  std::function<void()> wake;      // the rail has something to report
};
std::unique_ptr<Rail> defect_rail(std::unique_ptr<Rail> inner, const DefectRailConfig& config);

// kOldEpochAccepted, where the link's frames pass: what one rank hears from one peer.
class OldEpochs {
 public:
  void on_sent(const wire::Frame& frame);
  // A verdict gets the present epoch of its pair.
  void on_received(wire::Frame& frame) const;

 private:
  std::map<uint32_t, uint16_t> epochs_;  // by pair
};

}  // namespace railccl::simulate
