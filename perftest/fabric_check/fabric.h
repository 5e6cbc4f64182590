// What fabric_check knows of a fabric: its nodes, and what was measured between them. Values only;
// rank 0 collects them, the verdict and the reports read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace railccl::perftest::fabric {

struct Rail {
  std::string name;       // "rail0", "mlx5_0:1"
  std::string transport;  // "tcp", "verbs"
  std::string address;
  std::string subnet;  // "10.1.0.0/24"; empty: not known
};

struct Node {
  std::string name;
  std::vector<int> ranks;   // the first one leads
  std::vector<Rail> rails;  // of its first rank
};

enum class PairState : uint8_t {
  kNotMeasured,
  kMeasured,
  kUnreachable,  // the rail did not come up between the two
  kFailed,       // it was up, and the measurement did not end
};

// One way between two nodes.
struct PairValue {
  PairState state = PairState::kNotMeasured;
  double gbps = 0;  // 1e9 bits of payload per second
  double latency_us = 0;
  uint64_t wrong = 0;  // elements
  std::string error;
};

class Matrix {
 public:
  explicit Matrix(size_t nodes = 0) : nodes_(nodes), values_(nodes * nodes) {}
  size_t nodes() const { return nodes_; }
  PairValue& at(int from, int to) { return values_[index(from, to)]; }
  const PairValue& at(int from, int to) const { return values_[index(from, to)]; }

 private:
  size_t index(int from, int to) const {
    return static_cast<size_t>(from) * nodes_ + static_cast<size_t>(to);
  }
  size_t nodes_;
  std::vector<PairValue> values_;
};

// All nodes sending to all others at the same time.
struct AtOnce {
  int rail = -1;          // -1: over all rails
  double gbps = 0;        // of all nodes together
  double alone_gbps = 0;  // what the nodes reach when they have the fabric for themselves
  uint64_t wrong = 0;     // elements
  std::string left_out;   // why it was not done; empty: it was
};

struct CollectiveResult {
  std::string name;
  uint64_t bytes = 0;
  double time_us = 0;  // median of its repetitions, of the slowest rank
  double bus_gbps = 0;
  uint64_t wrong = 0;  // elements on all ranks
};

struct DrillResult {
  int rail = 0;
  uint64_t operations = 0;
  uint64_t wrong = 0;        // elements on all ranks
  double usual_ms = 0;       // median operation before
  double stall_ms = 0;       // longest operation from the switch on, less the usual time
  bool went_down = false;    // on every rank
  bool came_back = false;    // on every rank
  double back_after_ms = 0;  // from switching on
  uint64_t replayed_bytes = 0;
  std::string left_out;  // why it was not done; empty: it was
};

struct CounterChange {
  int node = 0;
  int rail = 0;
  std::string counter;  // "mlx5_0/1 symbol_error", "eth1 rx_dropped"
  std::string meaning;
  uint64_t before = 0;
  uint64_t after = 0;
};

struct Missing {
  int node = -1;  // -1: not known which
  std::string stage;
  std::string why;
};

struct Fabric {
  std::vector<Node> nodes;
  std::vector<Matrix> rails;  // each alone, by rail number
  Matrix all_rails;
  std::vector<AtOnce> at_once;
  std::vector<CollectiveResult> collectives;
  std::vector<DrillResult> drills;
  std::vector<CounterChange> counters;
  std::vector<Missing> missing;  // anything: the check is incomplete

  int node_count() const { return static_cast<int>(nodes.size()); }
  int rail_count() const { return static_cast<int>(rails.size()); }
};

// The measured values of a matrix.
std::vector<double> measured_gbps(const Matrix& matrix);

}  // namespace railccl::perftest::fabric
