// Where settings come from: environment variables and files, behind an interface so that tests
// give their own. The process environment is read here and nowhere else in the library; code that
// needs a launcher's variable (RANK, SLURM_PROCID, ...) asks the source for it. Any thread, as long
// as nobody changes the environment at the same time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/status.h"

namespace railccl {

class SettingsSource {
 public:
  virtual ~SettingsSource() = default;
  virtual std::optional<std::string> variable(std::string_view name) const = 0;
  // All variables whose name begins with `prefix`, sorted by name.
  virtual std::vector<std::pair<std::string, std::string>> variables(
      std::string_view prefix) const = 0;
  // The whole text of a file; nothing: there is none; an error: it cannot be read.
  virtual Result<std::optional<std::string>> file(const std::string& path) const = 0;
};

// The environment and the file system of this process.
const SettingsSource& process_settings_source();

// Given maps, for tests and tools.
class FixedSettingsSource final : public SettingsSource {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;
  explicit FixedSettingsSource(Map variables, Map files = {})
      : variables_(std::move(variables)), files_(std::move(files)) {}
  std::optional<std::string> variable(std::string_view name) const override;
  std::vector<std::pair<std::string, std::string>> variables(
      std::string_view prefix) const override;
  Result<std::optional<std::string>> file(const std::string& path) const override;

 private:
  Map variables_;
  Map files_;
};

}  // namespace railccl
