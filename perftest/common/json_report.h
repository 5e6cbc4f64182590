// The -J file: the document nccl-tests writes (its version 3), with `rails`, and `time_us` in each
// result, added. Rank 0's thread only; the file is written when the report is closed, also after a
// failure, with what there is.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "perftest/common/json_file.h"
#include "perftest/common/options.h"
#include "perftest/common/outcome.h"
#include "perftest/common/result.h"

namespace railccl::perftest {

// The parts of the document, as values.
nlohmann::ordered_json config_json(const Options& options, std::span<const RankDevice> devices);
nlohmann::ordered_json result_json(const SizeResult& result, const Options& options);
nlohmann::ordered_json rails_json(std::span<const RankRails> ranks);

class JsonReport {
 public:
  // Makes the file, or, where it exists, one with .0, .1, ... appended.
  static Outcome<JsonReport> create(const std::string& path, std::span<const std::string> arguments,
                                    int library_version);
  JsonReport(JsonReport&&) = default;
  JsonReport& operator=(JsonReport&&) = default;
  ~JsonReport();

  const std::string& path() const { return file_.path(); }
  void set_config(const Options& options, std::span<const RankDevice> devices);
  void add_result(const SizeResult& result, const Options& options);
  void set_rails(std::span<const RankRails> ranks);
  void set_summary(const Summary& summary);
  // Writes and closes; again does nothing.
  Outcome<void> close();

 private:
  explicit JsonReport(JsonFile file) : file_(std::move(file)) {}

  JsonFile file_;
  nlohmann::ordered_json document_;
};

}  // namespace railccl::perftest
