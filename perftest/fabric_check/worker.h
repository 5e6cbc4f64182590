// One rank's side: carries out what rank 0 asks for (rank 0 asks itself, too). One thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "perftest/fabric_check/lines.h"

namespace railccl::perftest::fabric {

struct WorkerSettings {
  double patience_s = 15;        // for each wait on another rank
  std::string sysfs_root = "/";  // of the counters
};

// Commands, by "do":
//   describe                                      rails of this rank, host
//   counters                                      of its rails
//   pair {id, rank, rails, seconds}               measure_pair
//   join {name, id, rank, ranks}, leave {name}    a session that lasts
//   at_once {name, rails, seconds, gbps}          on a session
//   collective {name, collective, bytes}
//   drill {name, rail, bytes, operations}
class Worker {
 public:
  Worker(ncclComm_t world, const WorkerSettings& settings) : world_(world), settings_(settings) {}

  // The answer: {"ok": ...} or {"error": text}.
  Json carry_out(const Json& command);

 private:
  Outcome<Json> dispatch(const Json& command);
  Outcome<Json> describe();
  Outcome<Json> counters();
  Outcome<Json> pair(const Json& command);
  Outcome<Json> join(const Json& command);
  Outcome<Json> leave(const Json& command);
  Outcome<Json> at_once(const Json& command);
  Outcome<Json> collective(const Json& command);
  Outcome<Json> drill(const Json& command);
  Outcome<Session*> session(const Json& command);

  ncclComm_t world_;
  const WorkerSettings& settings_;
  std::map<std::string, std::unique_ptr<Session>> sessions_;
  bool trouble_ = false;  // a value of the answer failed
};

}  // namespace railccl::perftest::fabric
