// Every function with wrong arguments: each text says what, why and what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/api/api_world.h"

namespace railccl::test {
namespace {

using ::testing::HasSubstr;

void expect_error(ncclResult_t result, ncclResult_t code, const std::string& text) {
  EXPECT_EQ(result, code) << text;
  EXPECT_THAT(std::string(ncclGetLastError(nullptr)), HasSubstr(text));
}

void with_one_rank(const std::function<void(ncclComm_t)>& body) {
  run_ranks(1, [&](RankOf& self) { body(self.comm); });
}

TEST(ErrorTexts, OfStarts) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t comm = nullptr;
  expect_error(ncclCommInitRank(nullptr, 1, id, 0), ncclInvalidArgument,
               "argument comm of ncclCommInitRank is NULL");
  expect_error(ncclCommInitRank(&comm, 0, id, 0), ncclInvalidArgument,
               "argument nranks of ncclCommInitRank is 0, it must be at least 1");
  expect_error(ncclCommInitRank(&comm, 2, id, 5), ncclInvalidArgument,
               "argument rank of ncclCommInitRank is 5, with 2 ranks it must be 0 to 1");
  ncclUniqueId junk;
  std::memset(&junk, 7, sizeof junk);
  expect_error(ncclCommInitRank(&comm, 1, junk, 0), ncclInvalidArgument,
               "pass the 128 bytes of ncclGetUniqueId unchanged from one rank to all others");
  expect_error(ncclCommInitAll(&comm, 0, nullptr), ncclInvalidArgument,
               "argument ndev of ncclCommInitAll is 0, it must be at least 1");
  expect_error(ncclCommInitRankScalable(&comm, 2, 0, 3, &id, nullptr), ncclInvalidArgument,
               "argument nId of ncclCommInitRankScalable is 3, with 2 ranks it must be 1 to 2");
  expect_error(ncclCommInitRankScalable(&comm, 2, 0, 1, nullptr, nullptr), ncclInvalidArgument,
               "argument commIds of ncclCommInitRankScalable is NULL");
  expect_error(railcclCommInitFromEnv(&comm), ncclInvalidUsage, "Ways to start: torchrun");
}

TEST(ErrorTexts, OfConfigs) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t comm = nullptr;
  const auto refused = [&](auto change, const std::string& text) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    change(config);
    expect_error(ncclCommInitRankConfig(&comm, 1, id, 0, &config), ncclInvalidArgument, text);
  };
  refused([](ncclConfig_t& config) { config.blocking = 7; }, "is 7, allowed are 0 to 1");
  refused([](ncclConfig_t& config) { config.minCTAs = 0; }, "field minCTAs");
  refused([](ncclConfig_t& config) { config.maxCTAs = 100; }, "is 100, allowed are 1 to 64");
  refused([](ncclConfig_t& config) { config.minCTAs = 9, config.maxCTAs = 3; },
          "minCTAs 9 greater than maxCTAs 3");
  refused([](ncclConfig_t& config) { config.netName = "Token Ring"; },
          "'Token Ring', allowed are IB (or verbs), Socket (or tcp)");
  refused([](ncclConfig_t& config) { config.magic = 1; }, "NCCL_CONFIG_INITIALIZER");
}

TEST(ErrorTexts, OfCalls) {
  with_one_rank([](ncclComm_t comm) {
    float value[4] = {};
    expect_error(ncclAllReduce(value, value, size_t{1} << 63, ncclFloat, ncclSum, comm, nullptr),
                 ncclInvalidArgument, "more than memory can hold");
    expect_error(ncclAllReduce(value, value, 1, ncclFloat, ncclSum,
                               reinterpret_cast<ncclComm_t>(value), nullptr),
                 ncclInvalidArgument, "is not a communicator, or it was destroyed");
    expect_error(ncclAllReduce(value, value, 1, ncclFloat, ncclSum, comm,
                               reinterpret_cast<cudaStream_t>(value)),
                 ncclInvalidUsage, "is not a stream of railcclStreamCreate");
    expect_error(ncclSend(value, 1, ncclFloat, 1, comm, nullptr), ncclInvalidArgument,
                 "argument peer of ncclSend is 1, but the communicator has ranks 0 to 0");
    ncclComm_t made = nullptr;
    expect_error(ncclCommSplit(comm, -5, 0, &made, nullptr), ncclInvalidArgument,
                 "it must be NCCL_SPLIT_NOCOLOR or at least 0");
    int excluded[] = {3};
    expect_error(ncclCommShrink(comm, excluded, 1, &made, nullptr, 0), ncclInvalidArgument,
                 "names rank 3, but the communicator has ranks 0 to 0");
    expect_error(ncclCommShrink(comm, excluded, 0, &made, nullptr, 9), ncclInvalidArgument,
                 "shrinkFlags of ncclCommShrink is 9, allowed are NCCL_SHRINK_DEFAULT (0)");
    ncclRedOp_t op;
    expect_error(ncclRedOpCreatePreMulSum(&op, value, static_cast<ncclDataType_t>(44),
                                          ncclScalarHostImmediate, comm),
                 ncclInvalidArgument, "is 44, not a type of ncclDataType_t");
    expect_error(ncclRedOpCreatePreMulSum(&op, value, ncclFloat,
                                          static_cast<ncclScalarResidence_t>(4), comm),
                 ncclInvalidArgument, "is 4, allowed are ncclScalarDevice");
    expect_error(ncclRedOpDestroy(ncclSum, comm), ncclInvalidArgument,
                 "not an operator that ncclRedOpCreatePreMulSum made");
  });
}

// It ends the communicator, but nothing more.
TEST(ErrorTexts, OfASendToOneselfThatNobodyReceives) {
  with_one_rank([](ncclComm_t comm) {
    float value = 0;
    expect_error(ncclSend(&value, 1, ncclFloat, 0, comm, nullptr), ncclInvalidUsage,
                 "1 sends to itself and 0 receives from itself in one group");
  });
}

TEST(ErrorTexts, OfMemoryAndReports) {
  with_one_rank([](ncclComm_t comm) {
    alignas(4096) static char buffer[8192];
    void* handle = nullptr;
    ncclWindow_t window = nullptr;
    expect_error(ncclMemFree(buffer), ncclInvalidArgument,
                 "is not the start of memory from ncclMemAlloc");
    expect_error(ncclCommRegister(comm, buffer, 0, &handle), ncclInvalidArgument,
                 "argument size of ncclCommRegister is 0, it must be at least 1");
    expect_error(ncclCommWindowRegister(comm, buffer, 16, &window, 99), ncclInvalidArgument,
                 "is 0x63, allowed are NCCL_WIN_DEFAULT");
    expect_error(ncclCommWindowRegister(comm, buffer + 1, 16, &window, 0), ncclInvalidArgument,
                 "not aligned to 4096 bytes");
    expect_error(railcclCommDumpTrace(comm, "/no/such/folder/x"), ncclSystemError,
                 "railcclCommDumpTrace: cannot write /no/such/folder/x: No such file");
    expect_error(railcclCommSetRail(comm, 1, 0), ncclInvalidArgument,
                 "railcclCommSetRail: rail 1 of rank 0: it has 1 rails, from 0");
    expect_error(railcclCommSetRail(comm, -1, 1), ncclInvalidArgument, "rail -1 of rank 0");
    expect_error(railcclCommSetRail(comm, 0, 0), ncclInvalidUsage,
                 "railcclCommSetRail: rail 0 (lo) is the last one of rank 0 that is switched on: "
                 "switch another one on first");
    EXPECT_EQ(railcclCommSetRail(comm, 0, 1), ncclSuccess);
    expect_error(railcclCommSetRail(nullptr, 0, 1), ncclInvalidArgument, "railcclCommSetRail");
    size_t length = 0;
    railcclCall_t call{.collective = static_cast<railcclCollective_t>(55), .count = 1};
    expect_error(railcclExplain(comm, &call, railcclText, nullptr, 0, &length), ncclInvalidArgument,
                 "field collective of the call given to railcclExplain is 55");
    call = {.collective = railcclAllReduce, .count = 0};
    expect_error(railcclExplain(comm, &call, railcclText, nullptr, 0, &length), ncclInvalidArgument,
                 "field count");
    expect_error(
        railcclExplain(comm, nullptr, static_cast<railcclFormat_t>(5), nullptr, 0, &length),
        ncclInvalidArgument, "is 5, allowed are railcclText and railcclJson");
  });
}

}  // namespace
}  // namespace railccl::test
