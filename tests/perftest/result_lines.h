// Of what a perf program printed, the lines with results. Any thread.
#pragma once

#include <sstream>
#include <string>
#include <vector>

namespace railccl::perftest {

inline std::vector<std::string> result_lines(const std::string& output) {
  std::vector<std::string> lines;
  std::istringstream in(output);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  return lines;
}

}  // namespace railccl::perftest
