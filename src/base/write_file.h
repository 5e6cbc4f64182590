// Replaces a file as a whole: a reader sees the old text or the new one, never a part. Slow path,
// any thread.
#pragma once

#include <string>
#include <string_view>

#include "src/base/status.h"

namespace railccl {

// Written beside `path`, then renamed. A path that is no regular file (/dev/stdout, a pipe) is
// written in place.
Status write_file(const std::string& path, std::string_view text);

}  // namespace railccl
