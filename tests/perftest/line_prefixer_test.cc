#include "perftest/common/line_prefixer.h"

#include <gtest/gtest.h>

namespace railccl::perftest {
namespace {

TEST(LinePrefixer, PrefixesWholeLines) {
  LinePrefixer lines("[rank 3] ");
  EXPECT_EQ(lines.add("hal"), "");
  EXPECT_EQ(lines.add("f\nnext\nre"), "[rank 3] half\n[rank 3] next\n");
  EXPECT_EQ(lines.add(""), "");
  EXPECT_EQ(lines.finish(), "[rank 3] re\n");
  EXPECT_EQ(lines.finish(), "");
}

}  // namespace
}  // namespace railccl::perftest
