// Which nodes and pairs explain the bad ways of one rail: one node's NIC, single pairs, or the
// whole plane. Pure.
#pragma once

#include <cstddef>
#include <vector>

namespace railccl::perftest::fabric {

// By sender and receiver: was the way measured (or tried), and is it bad?
class Ways {
 public:
  explicit Ways(int nodes)
      : nodes_(nodes), states_(static_cast<size_t>(nodes) * static_cast<size_t>(nodes)) {}
  int nodes() const { return nodes_; }
  void set(int from, int to, bool bad) { at(from, to) = bad ? State::kBad : State::kGood; }
  bool known(int from, int to) const { return at(from, to) != State::kUnknown; }
  bool bad(int from, int to) const { return at(from, to) == State::kBad; }
  int count_known() const;
  int count_bad() const;

 private:
  enum class State : unsigned char { kUnknown, kGood, kBad };
  State& at(int from, int to) { return states_[index(from, to)]; }
  State at(int from, int to) const { return states_[index(from, to)]; }
  size_t index(int from, int to) const {
    return static_cast<size_t>(from) * static_cast<size_t>(nodes_) + static_cast<size_t>(to);
  }
  int nodes_;
  std::vector<State> states_;
};

struct Cause {
  enum class Kind : unsigned char {
    kPlane,  // nearly all ways
    kNode,   // nearly all ways of one node
    kPair,   // what is left: two nodes
  };
  Kind kind = Kind::kPair;
  int node = -1;          // kNode; kPair: the smaller one
  int other = -1;         // kPair
  bool sends = false;     // kNode: its sending is bad; kPair: from node to other
  bool receives = false;  // kNode: its receiving is bad; kPair: from other to node
};

// Together they cover every bad way.
std::vector<Cause> find_causes(const Ways& ways);

}  // namespace railccl::perftest::fabric
