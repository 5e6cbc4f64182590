// Texts handed to a C caller's buffer, as railccl.h says: cut to fit, always ended by NUL, the full
// length told.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "src/base/status.h"

namespace railccl {

Status give_text(const std::string& value, char* text, size_t capacity, size_t* length,
                 std::string_view function);

}  // namespace railccl
