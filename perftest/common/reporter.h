// Where results go: the table on standard output, and the JSON file if one was asked for. Rank 0's
// thread only; other ranks have none.
#pragma once

#include <cstdio>
#include <optional>
#include <span>
#include <string>

#include "perftest/common/json_report.h"
#include "perftest/common/options.h"
#include "perftest/common/result.h"

namespace railccl::perftest {

class Reporter {
 public:
  Reporter(std::string program, const Options& options, std::FILE* out,
           std::optional<JsonReport> json)
      : program_(std::move(program)), options_(options), out_(out), json_(std::move(json)) {}

  void head(std::span<const RankDevice> devices, int library_version);
  void begin_result(const SizeResult& result);
  void placement(const PlacementResult& result);
  void end_result(const SizeResult& result);
  void rails(std::span<const RankRails> ranks);
  void foot(const Summary& summary, const std::optional<MemoryUse>& memory);
  // Closes the JSON file.
  Outcome<void> close();

 private:
  void print(const std::string& text);

  std::string program_;
  const Options& options_;
  std::FILE* out_;
  std::optional<JsonReport> json_;
};

}  // namespace railccl::perftest
