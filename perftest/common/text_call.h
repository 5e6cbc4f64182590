// The calls of railccl.h that give a text, as strings. Any thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "perftest/common/library.h"

namespace railccl::perftest {

// `call(buffer, capacity, &length)` until the buffer holds the whole text.
template <typename Call>
Outcome<std::string> text_of(std::string_view name, Call call) {
  std::string text(4096, '\0');
  while (true) {
    size_t length = 0;
    PERFTEST_TRY(check(name, call(text.data(), text.size(), &length)));
    const bool fits = length < text.size();
    text.resize(fits ? length : length + 1);
    if (fits) return text;
  }
}

}  // namespace railccl::perftest
