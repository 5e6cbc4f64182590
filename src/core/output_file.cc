#include "src/core/output_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/base/path_pattern.h"

namespace railccl {
namespace {

bool is_folder(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

}  // namespace

Status check_output_file(const Settings& settings, TypedSetting<SettingType::kText> key) {
  const std::string path = expand_path(settings.get_text(key));
  if (path.empty()) return Status::ok();
  if (path.back() == '/' || is_folder(path)) {
    return settings.bad_value(key.key(), "the name of a file; this is a folder");
  }
  const size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  if (!is_folder(folder)) {
    return settings.bad_value(key.key(),
                              fmt::format("a file in a folder that exists; {} does not", folder));
  }
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return settings.bad_value(key.key(), fmt::format("a file in a folder that this process may "
                                                     "write to; {}: {}",
                                                     folder, std::strerror(errno)));
  }
  return Status::ok();
}

}  // namespace railccl
