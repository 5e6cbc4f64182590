#include "src/base/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "src/base/unique_fd.h"

namespace railccl {
namespace {

Status write_all(const UniqueFd& file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(errno, fmt::format("cannot write {}", path));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return Status::ok();
}

// `name`: for messages.
Status write_in_place(const std::string& path, std::string_view text, const std::string& name) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return system_error(errno, fmt::format("cannot write {}", name));
  return write_all(file, text, name);
}

bool is_special(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode);
}

}  // namespace

Status write_file(const std::string& path, std::string_view text) {
  if (is_special(path)) return write_in_place(path, text, path);
  const std::string aside = fmt::format("{}.{}.{}.tmp", path, getpid(), gettid());
  Status status = write_in_place(aside, text, path);
  if (status && std::rename(aside.c_str(), path.c_str()) != 0) {
    status = system_error(errno, fmt::format("cannot rename {} to {}", aside, path));
  }
  if (!status) ::unlink(aside.c_str());
  return status;
}

}  // namespace railccl
