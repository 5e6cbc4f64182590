#include "perftest/fabric_check/causes.h"

#include <algorithm>

namespace railccl::perftest::fabric {
namespace {

// So much of what belongs to a node, or to the rail, must be bad for the blame to be its.
constexpr double kNearlyAll = 0.75;
constexpr int kFewest = 2;  // ways that a blame must rest on

struct Share {
  int known = 0;
  int bad = 0;
  int open = 0;  // bad and not explained by another cause
  bool blames() const { return known >= kFewest && bad >= kNearlyAll * known; }
};

class Search {
 public:
  explicit Search(const Ways& ways) : ways_(ways), explained_(ways.nodes()) {}

  std::vector<Cause> run() {
    if (ways_.nodes() > 2 && ways_.count_bad() > 0 &&
        ways_.count_bad() >= kNearlyAll * ways_.count_known()) {
      return {{.kind = Cause::Kind::kPlane}};
    }
    while (blame_a_node()) {
    }
    blame_pairs();
    return std::move(causes_);
  }

 private:
  Share share(int node, bool sends) const {
    Share share;
    for (int other = 0; other < ways_.nodes(); ++other) {
      const int from = sends ? node : other;
      const int to = sends ? other : node;
      if (!ways_.known(from, to)) continue;
      ++share.known;
      if (!ways_.bad(from, to)) continue;
      ++share.bad;
      if (!explained_.known(from, to)) ++share.open;
    }
    return share;
  }

  void explain(int node, bool sends) {
    for (int other = 0; other < ways_.nodes(); ++other) {
      explained_.set(sends ? node : other, sends ? other : node, true);
    }
  }

  // The one that explains most of what is open.
  bool blame_a_node() {
    Cause best;
    int most = 0;
    for (int node = 0; node < ways_.nodes(); ++node) {
      const Share sends = share(node, true);
      const Share receives = share(node, false);
      const int open = (sends.blames() ? sends.open : 0) + (receives.blames() ? receives.open : 0);
      if (open <= most) continue;
      most = open;
      best = {.kind = Cause::Kind::kNode,
              .node = node,
              .sends = sends.blames(),
              .receives = receives.blames()};
    }
    if (most == 0) return false;
    if (best.sends) explain(best.node, true);
    if (best.receives) explain(best.node, false);
    causes_.push_back(best);
    return true;
  }

  void blame_pairs() {
    const auto open = [&](int from, int to) {
      return ways_.bad(from, to) && !explained_.known(from, to);
    };
    for (int node = 0; node < ways_.nodes(); ++node) {
      for (int other = node + 1; other < ways_.nodes(); ++other) {
        if (!open(node, other) && !open(other, node)) continue;
        causes_.push_back({.kind = Cause::Kind::kPair,
                           .node = node,
                           .other = other,
                           .sends = open(node, other),
                           .receives = open(other, node)});
      }
    }
  }

  const Ways& ways_;
  Ways explained_;
  std::vector<Cause> causes_;
};

}  // namespace

int Ways::count_known() const {
  return static_cast<int>(
      std::ranges::count_if(states_, [](State state) { return state != State::kUnknown; }));
}

int Ways::count_bad() const { return static_cast<int>(std::ranges::count(states_, State::kBad)); }

std::vector<Cause> find_causes(const Ways& ways) { return Search(ways).run(); }

}  // namespace railccl::perftest::fabric
