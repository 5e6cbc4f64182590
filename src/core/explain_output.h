// RAILCCL_EXPLAIN_FILE: what each communicator of this process would do and why, as text or, when
// the name ends in .json, as JSON. Written when a communicator begins and when it ends, by then
// with what was measured. Any thread.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "src/base/mutex.h"
#include "src/base/settings.h"
#include "src/base/status.h"

namespace railccl {

class Communicator;

class ExplainOutput {
 public:
  // Null when the setting names no file.
  static Result<std::unique_ptr<ExplainOutput>> create(const Settings& settings);

  // Says nothing new once the communicator has failed.
  void update(const Communicator& communicator);

 private:
  ExplainOutput() = default;
  std::string as_text() const RAILCCL_REQUIRES(mutex_);

  std::string pattern_;
  Mutex mutex_;
  // By communicator and rank.
  std::map<std::pair<uint64_t, int>, nlohmann::json> explanations_ RAILCCL_GUARDED_BY(mutex_);
  int first_rank_ RAILCCL_GUARDED_BY(mutex_) = 0;
};

}  // namespace railccl
