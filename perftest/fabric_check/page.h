// The page of fabric_check around its data, which is a JSON document.
#pragma once

#include <string_view>

namespace railccl::perftest::fabric {

extern const std::string_view kPageBeforeData;
extern const std::string_view kPageAfterData;

}  // namespace railccl::perftest::fabric
