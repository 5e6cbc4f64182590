// Our nccl.h against NCCL 2.28.9: the numbers in nccl_header_golden.txt were written by
// nccl_header_dump.cc from NVIDIA's header, and where the CUDA toolkit is installed its header is
// compiled and compared directly.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

std::string dump_our_header();
std::string dump_toolkit_header();
extern "C" int railccl_header_config_version(void);  // nccl_header_c.c

namespace {

std::vector<std::string> lines_of(std::istream& in) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  return lines_of(in);
}

void expect_same(const std::vector<std::string>& ours, const std::vector<std::string>& theirs) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_EQ(ours[i], theirs[i]);
}

TEST(NcclHeader, HasTheValuesAndLayoutsOfNccl2289) {
  std::ifstream golden(RAILCCL_GOLDEN_FILE);
  ASSERT_TRUE(golden) << RAILCCL_GOLDEN_FILE;
  const auto expected = lines_of(golden);
  ASSERT_GT(expected.size(), 100u);
  expect_same(lines_of(dump_our_header()), expected);
}

TEST(NcclHeader, ServesC) { EXPECT_EQ(railccl_header_config_version(), 22809); }

#ifdef RAILCCL_HAVE_TOOLKIT_HEADER
TEST(NcclHeader, AgreesWithTheInstalledToolkit) {
  const auto toolkit = lines_of(dump_toolkit_header());
  if (toolkit.size() < 4 || toolkit[3] != "NCCL_VERSION_CODE 22809") {
    GTEST_SKIP() << "the toolkit's nccl.h is not 2.28.9 but " << toolkit[3];
  }
  expect_same(lines_of(dump_our_header()), toolkit);
}
#endif

}  // namespace
