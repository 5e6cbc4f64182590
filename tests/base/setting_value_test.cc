#include "src/base/setting_value.h"

#include <gtest/gtest.h>

#include <limits>
#include <tuple>

namespace railccl {
namespace {

SettingSpec spec_of(SettingType type, int64_t min, int64_t max, std::string_view choices = {}) {
  return {.name = "X", .type = type, .min = min, .max = max, .choices = choices};
}

TEST(SettingValue, ReadsIntegers) {
  const SettingSpec spec = spec_of(SettingType::kInt, -10, 5000);
  for (const auto& [text, expected] : {std::pair<const char*, int64_t>{"0", 0},
                                       {"-1", -1},
                                       {"+7", 7},
                                       {" 42 ", 42},
                                       {"0x10", 16},
                                       {"5000", 5000},
                                       {"-10", -10}}) {
    const auto parsed = parse_setting(spec, text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message();
    EXPECT_EQ(parsed->number, expected) << text;
  }
}

TEST(SettingValue, RefusesWhatIsNoIntegerOrOutOfRange) {
  const SettingSpec spec = spec_of(SettingType::kInt, -10, 5000);
  for (const char* text : {"", " ", "x", "1x", "1 2", "--1", "+-1", "0x", "010", "1.5", "1e3", "1K",
                           "5001", "-11", "99999999999999999999", "-99999999999999999999"}) {
    const auto parsed = parse_setting(spec, text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code(), Code::kInvalidUsage);
    EXPECT_NE(parsed.error().message().find("a number from -10 to 5000"), std::string::npos)
        << parsed.error().message();
  }
}

TEST(SettingValue, ReadsSizes) {
  const SettingSpec spec = spec_of(SettingType::kBytes, 0, int64_t{1} << 40);
  for (const auto& [text, expected] : {std::pair<const char*, int64_t>{"4096", 4096},
                                       {"4K", 4096},
                                       {"4k", 4096},
                                       {"4KB", 4096},
                                       {"4KiB", 4096},
                                       {"0x10K", 16384},
                                       {"3M", 3 << 20},
                                       {"2G", int64_t{2} << 30},
                                       {"1024G", int64_t{1} << 40}}) {
    const auto parsed = parse_setting(spec, text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message();
    EXPECT_EQ(parsed->number, expected) << text;
  }
}

TEST(SettingValue, RefusesSizesThatOverflowOrHaveNoNumber) {
  const SettingSpec spec = spec_of(SettingType::kBytes, 0, std::numeric_limits<int64_t>::max());
  for (const char* text : {"K", "B", "4T", "4KK", "K4", "9223372036854775807K", "8589934592G", "-1",
                           "4 K x", "4.5M"}) {
    EXPECT_FALSE(parse_setting(spec, text)) << text;
  }
  EXPECT_TRUE(parse_setting(spec, "8589934591G"));
}

TEST(SettingValue, ReadsBooleansInAllTheirWords) {
  const SettingSpec spec = spec_of(SettingType::kBool, 0, 1);
  for (const char* text : {"1", "yes", "On", "TRUE"}) {
    EXPECT_EQ(parse_setting(spec, text).value().number, 1) << text;
  }
  for (const char* text : {"0", "No", "OFF", "false"}) {
    EXPECT_EQ(parse_setting(spec, text).value().number, 0) << text;
  }
  for (const char* text : {"2", "-1", "y", "", "10"})
    EXPECT_FALSE(parse_setting(spec, text)) << text;
}

TEST(SettingValue, ReadsChoicesWithSynonymsInAnyCase) {
  const SettingSpec spec = spec_of(SettingType::kChoice, 0, 0, "auto|LOC=0|PHB=3=4");
  for (const auto& [text, index, word] :
       {std::tuple<const char*, int64_t, const char*>{"AUTO", 0, "auto"},
        {"loc", 1, "LOC"},
        {"0", 1, "LOC"},
        {"4", 2, "PHB"},
        {"Phb", 2, "PHB"}}) {
    const auto parsed = parse_setting(spec, text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->number, index);
    EXPECT_EQ(parsed->text, word);
  }
  const auto wrong = parse_setting(spec, "PIX");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message(), "'PIX' is not allowed; allowed is auto, LOC=0 or PHB=3=4");
}

TEST(SettingValue, FormatsSizesAsAUserWouldWriteThem) {
  EXPECT_EQ(format_bytes(0), "0");
  EXPECT_EQ(format_bytes(1000), "1000");
  EXPECT_EQ(format_bytes(4096), "4K");
  EXPECT_EQ(format_bytes(4 << 20), "4M");
  EXPECT_EQ(format_bytes(uint64_t{3} << 30), "3G");
  EXPECT_EQ(format_bytes(uint64_t{1} << 42), "4096G");
}

TEST(SettingValue, MeasuresEditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("Debug", "DEBUG"), 0u);
  EXPECT_EQ(edit_distance("RANK_TIMEOUT", "RANK_TIMEOUT_S"), 2u);
}

}  // namespace
}  // namespace railccl
