#include "src/api/text_out.h"

#include <algorithm>
#include <cstring>

namespace railccl {

Status give_text(const std::string& value, char* text, size_t capacity, size_t* length,
                 std::string_view function) {
  if (text == nullptr && capacity > 0) {
    return error(Code::kInvalidArgument, "argument text of {} is NULL", function);
  }
  if (length != nullptr) *length = value.size();
  if (capacity == 0) return Status::ok();
  const size_t copied = std::min(value.size(), capacity - 1);
  std::memcpy(text, value.data(), copied);
  text[copied] = 0;
  return Status::ok();
}

}  // namespace railccl
