#include "perftest/common/json_file.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace railccl::perftest {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostFileNames = 10000;
constexpr std::string_view kSecret = "RAILCCL_JOB_SECRET=";

bool ends_with_json(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.size() > 5 && name.ends_with(".json");
}

}  // namespace

Outcome<JsonFile> JsonFile::create(const std::string& path) {
  JsonFile json;
  json.path_ = path;
  for (int attempt = 0;; ++attempt) {
    json.file_.reset(std::fopen(json.path_.c_str(), "wxe"));
    if (json.file_) return json;
    if (errno != EEXIST || attempt == kMostFileNames) {
      return failure(Exit::kUsage, "-J: cannot make {}: {}", json.path_, std::strerror(errno));
    }
    json.path_ = fmt::format("{}.{}", path, attempt);
  }
}

Outcome<void> JsonFile::write(const Json& document) {
  // Bytes that are not UTF-8 (in the environment) are replaced, not fatal.
  const std::string text = document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::FILE* file = file_.release();
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) {
    return failure(Exit::kUsage, "-J: cannot write {}: {}", path_, std::strerror(errno));
  }
  return {};
}

Outcome<void> check_json_name(const std::string& name) {
  if (name.empty() || ends_with_json(name)) return {};
  return failure(Exit::kUsage, "-J '{}': the name must end in .json", name);
}

Json environment_json() {
  Json list = Json::array();
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    list.push_back(text.starts_with(kSecret) ? std::string(kSecret) + "(hidden)"
                                             : std::string(text));
  }
  return list;
}

}  // namespace railccl::perftest
