// What is known of one setting: a row of the table in settings_table.h. Pure data.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/setting.h"

namespace railccl {

enum class SettingType : uint8_t {
  kBool,    // 0 or 1 (also no/yes, off/on, false/true)
  kInt,     // decimal or 0x...
  kBytes,   // the same, with an optional K, M or G (powers of 1024)
  kChoice,  // one of several words, in any case
  kText,    // anything; whoever uses it checks its inner syntax
};

enum class SettingGroup : uint8_t {
  kGeneral,
  kBootstrap,
  kRails,
  kSockets,
  kVerbs,
  kNode,
  kGpu,
  kTuning,
  kProgress,
  kTopology,
  kDiagnostics,
};

// kShared: NCCL_<name> means the same and is read too.
enum class NcclName : uint8_t { kNone, kShared };

struct SettingSpec {
  Setting key{};
  std::string_view name;  // without the prefix RAILCCL_
  NcclName nccl = NcclName::kNone;
  SettingType type = SettingType::kText;
  std::string_view fallback;  // the default, written as a user would
  int64_t min = 0;            // kInt, kBytes
  int64_t max = 0;
  std::string_view choices;  // kChoice: "auto|host|cuda"; synonyms after '=': "warn=attn"
  SettingGroup group{};
  std::string_view help;
};

}  // namespace railccl
