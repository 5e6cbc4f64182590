// The cost model of a communicator's network as its rails change: watches this rank's rails, agrees
// with the other ranks on a picture, and has the model of the picture that is in force.
//
// Threading: the driver of the communicator. `peers` and `rails` outlive the object.
#pragma once

#include <span>
#include <vector>

#include "src/core/peers.h"
#include "src/core/rail_agreement.h"
#include "src/core/rail_watch.h"

namespace railccl {

struct RailModelOptions {
  RailAgreementOptions agreement;
  RailWatchOptions watch;
  MachineModel at_start;
  std::vector<double> rates;  // by rank: bytes per second of its rails, its share of its node's
};

// What the cost model takes a rail for before anything is measured.
double supposed_bytes_per_second(const RailInfo& rail);

// A rank's network before anything is measured: the rails that carry data as long as they are up,
// all together; the slowest one's latency, and processor's time for a put.
struct NetworkFacts {
  double bytes_per_second = 0;
  double latency_s = 0;
  double put_s = 0;
};
NetworkFacts supposed_network(std::span<const RailInfo> rails);

class RailModel {
 public:
  RailModel(RailModelOptions options, const Peers& peers, std::span<Rail* const> rails);

  Status accept(int from, std::span<const std::byte> message) {
    return agreement_.accept(from, message);
  }
  bool progress(TimeNs now, const RailAgreement::Send& send);
  TimeNs next_deadline() const {
    return std::min(watch_.next_deadline(), agreement_.next_deadline());
  }

  bool may_begin(uint64_t operation) const { return agreement_.may_begin(operation); }
  // True: machine() and picture() have changed with it.
  bool begin(uint64_t operation) { return agreement_.begin(operation); }
  const RailPicture& picture() const { return agreement_.picture(); }
  MachineModel machine() const {
    return model_of(options_.at_start, options_.rates, agreement_.picture());
  }

  // There will be no further operation; the others are done with this rank once ended().
  void leave() { agreement_.leave(); }
  bool ended() const { return agreement_.ended(); }
  std::string describe() const { return agreement_.describe(); }

 private:
  std::vector<RailObservation> observe() const;

  RailModelOptions options_;
  const Peers& peers_;
  std::span<Rail* const> rails_;
  RailWatch watch_;
  RailAgreement agreement_;
};

}  // namespace railccl
