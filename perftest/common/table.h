// The text output, line by line as nccl-tests 2.19.6 prints it. Pure: every function returns text.
#pragma once

#include <span>
#include <string>

#include "perftest/common/options.h"
#include "perftest/common/result.h"

namespace railccl::perftest {

// The nccl-tests release whose formats these are.
constexpr const char* kFormatVersion = "2.19.6";

// At most `width` characters, fewer digits for larger values: "  12.34", " 1234.5", "1.2e+09".
std::string fixed_width(double value, int width);

std::string table_head(const std::string& program, const Options& options, int library_version);
std::string device_line(const RankDevice& device);
// The three lines above the columns.
std::string column_heads(const Options& options);

// A result line is printed in pieces, so that one sees what is being measured.
std::string line_begin(const SizeResult& result);
std::string line_placement(const PlacementResult& result, const Options& options);
std::string line_end(const Options& options, const std::string& timestamp);

std::string table_foot(const std::string& program, const Summary& summary);
std::string memory_line(const MemoryUse& use);
std::string error_line(const Summary& summary);
std::string_view rail_state_text(railcclRailState_t state);
std::string rails_table(std::span<const RankRails> ranks);

// "2026-11-23 10:20:30", local time.
std::string time_of_day();

}  // namespace railccl::perftest
