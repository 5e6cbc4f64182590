// The verdict over a fabric: what is out of line, and what the likely cause is. Every way of a rail
// is held against its siblings (same rail, other pairs), every rail against the other rails, unless
// thresholds say what it must reach. Pure.
#pragma once

#include <string>
#include <vector>

#include "perftest/fabric_check/fabric.h"
#include "perftest/fabric_check/thresholds.h"
#include "perftest/fabric_check/tournament.h"

namespace railccl::perftest::fabric {

enum class Likely : uint8_t {
  kNic,      // one node's port of a rail: NIC, cable, switch port
  kPath,     // between two nodes only
  kPlane,    // a whole rail: its switch plane
  kNode,     // a node on all its rails
  kCrossed,  // rail k of a node is where the others' rail j is
  kWrongBytes,
  kAllRails,  // the rails together carry less than they should
  kAtOnce,    // all nodes together do: oversubscription
  kDrill,
  kCounter,
};
std::string_view likely_name(Likely likely);

struct Finding {
  bool fails = true;  // false: worth knowing, the verdict does not depend on it
  Likely likely = Likely::kNic;
  int rail = -1;           // -1: of no single rail
  std::vector<int> nodes;  // concerned
  std::string text;
};

struct RailSummary {
  int measured = 0;  // ways
  int bad = 0;       // measured or tried
  double median = 0;
  double spread = 0;
  double least = 0;
  double limit = 0;       // what a way must reach
  double latency_us = 0;  // median
};

enum class Judgement : uint8_t { kPass, kFail, kIncomplete };
std::string_view judgement_name(Judgement judgement);

struct Verdict {
  Judgement judgement = Judgement::kPass;
  std::vector<RailSummary> rails;
  std::vector<Finding> findings;  // those that fail first
};

Verdict judge(const Fabric& fabric, const Thresholds& thresholds);

// The pairs of a rail with a bad way: worth measuring again, alone, before they are blamed.
std::vector<NodePair> suspects(const Fabric& fabric, int rail, const Thresholds& thresholds);

}  // namespace railccl::perftest::fabric
