#include "src/core/explain_output.h"

#include <fmt/format.h>

#include "src/base/log.h"
#include "src/base/path_pattern.h"
#include "src/base/write_file.h"
#include "src/core/communicator.h"
#include "src/core/explain.h"
#include "src/core/output_file.h"

namespace railccl {

Result<std::unique_ptr<ExplainOutput>> ExplainOutput::create(const Settings& settings) {
  std::unique_ptr<ExplainOutput> output;
  if (!settings.is_set(Setting::kExplainFile)) return output;
  RAILCCL_TRY(check_output_file(settings, Setting::kExplainFile));
  output.reset(new ExplainOutput);
  output->pattern_ = settings.get_text(Setting::kExplainFile);
  return output;
}

void ExplainOutput::update(const Communicator& communicator) {
  Result<nlohmann::json> explanation = explain_all(communicator);
  const MutexLock guard(mutex_);
  Status done = explanation ? Status::ok() : explanation.error();
  if (explanation) {
    if (explanations_.empty()) first_rank_ = communicator.rank();
    explanations_[{communicator.parts().id, communicator.rank()}] = std::move(*explanation);
    done = write_file(expand_path(pattern_, first_rank_), as_text());
  }
  if (!done) {
    RAILCCL_WARN_ONCE(Subsys::kTuning, "explain file", "RAILCCL_EXPLAIN_FILE: {}", done.message());
  }
}

std::string ExplainOutput::as_text() const {
  if (pattern_.ends_with(".json")) {
    nlohmann::json all = nlohmann::json::array();
    for (const auto& [key, explanation] : explanations_) all.push_back(explanation);
    return nlohmann::json{{"communicators", std::move(all)}}.dump(1) + "\n";
  }
  std::string text;
  for (const auto& [key, explanation] : explanations_) {
    text += explanation_as_text(explanation) + "\n";
  }
  return text;
}

}  // namespace railccl
