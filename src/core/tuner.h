// Which algorithm, cut into which pieces: a pure decision from a cost model, the same on all ranks
// because its inputs are, and able to say why. Model: Hockney's alpha-beta per level (R. W.
// Hockney, Parallel Computing 20, 1994), with the pieces of an operation overlapped: the first
// piece pays every step's latency and all its bytes, each further piece only the slowest of network
// (with what each put costs by itself), memory, and its share of the time in which all the pieces
// that may be under way are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/schedule.h"
#include "src/base/status.h"
#include "src/base/types.h"

namespace railccl {

// What the model knows of the machine; equal on all ranks (agreed at the start).
struct MachineModel {
  double network_bytes_per_second = 1e9;  // all rails of a rank together
  double network_latency_s = 30e-6;       // one message between nodes
  double network_put_s = 5e-6;            // of the processor, for one put and its end
  double memory_bytes_per_second = 8e9;   // one rank's share of a node's memory bandwidth
  double local_latency_s = 1e-6;          // one signal inside a node
  uint64_t streaming_bytes = 8 << 20;     // results larger than this do not stay in the cache
  uint64_t eager_bytes = 32 << 10;        // what is put to another node is a message up to this
};

// What may follow when the model of the network changes.
enum class Retune : uint8_t {
  kExact,  // choices that leave every result bit for bit the same
  kAll,    // also those by which sums of floating-point numbers round differently
  kOff,    // the model does not change
};

struct TuningLimits {
  uint64_t slot_bytes = 0;   // scratch of one piece
  int depth = 4;             // pieces of a channel under way
  uint64_t piece_bytes = 0;  // 0: chosen
  int min_channels = 1;
  int max_channels = 2;
  std::vector<std::string> allowed;  // algorithm names for this collective; empty: all
};

// One algorithm, as considered, with the largest piece that is about as good as its best.
struct Candidate {
  const Algorithm* algorithm = nullptr;
  uint64_t piece = 0;      // elements
  double seconds = 0;      // predicted
  double work = 0;         // bytes sent and reduced by a rank
  std::string unsuitable;  // not empty: why it was left out
};

struct Decision {
  Candidate chosen;
  int channels = 1;
  int depth = 1;
  std::vector<Candidate> considered;
};

// Predicted seconds of a whole operation that goes through in pieces of `shape.piece` elements, at
// most `under_way` of them at a time.
double predict(const Cost& cost, const Shape& shape, size_t element_bytes,
               const MachineModel& machine, int under_way);

// Of candidates that are predicted to take about as long, the one with the least work for the
// ranks' processors: what the model takes for hidden behind the network may not be. `shape` has
// everything but piece, channel and channels. Error: no allowed algorithm can run it (names them
// and why).
Result<Decision> decide(const Shape& shape, size_t element_bytes, const MachineModel& machine,
                        const TuningLimits& limits);

// The seconds of a decision, which stays as it is, on another machine.
void predict_again(Decision& decision, const Shape& shape, size_t element_bytes,
                   const MachineModel& machine, const TuningLimits& limits);

}  // namespace railccl
