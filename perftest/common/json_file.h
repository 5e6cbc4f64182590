// The file of -J: made at the start, so that a run is not lost to a path that cannot be written;
// never over one that exists. One thread.
#pragma once

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "perftest/common/outcome.h"

namespace railccl::perftest {

class JsonFile {
 public:
  // Makes the file, or, where it exists, one with .0, .1, ... appended.
  static Outcome<JsonFile> create(const std::string& path);

  const std::string& path() const { return path_; }
  bool is_open() const { return file_ != nullptr; }
  // Writes the document and closes.
  Outcome<void> write(const nlohmann::ordered_json& document);

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  JsonFile() = default;

  std::unique_ptr<std::FILE, CloseFile> file_;
  std::string path_;
};

// -J's value: is it the name of a .json file?
Outcome<void> check_json_name(const std::string& name);

// This process's environment, without the job's secret.
nlohmann::ordered_json environment_json();

}  // namespace railccl::perftest
