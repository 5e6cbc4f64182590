// Who a process is, from the environments that launchers really set.
#include "src/core/launch_env.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace railccl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string, std::less<>>;

Result<LaunchEnv> read(const Variables& variables, const LaunchOptions& options = {}) {
  return read_launch_env(
      [&](std::string_view name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
      },
      options);
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables.insert_or_assign(name, value);
  return variables;
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "16"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "trainer-0.trainer"},
                             {"MASTER_PORT", "29500"},
                             {"TORCHELASTIC_RUN_ID", "none"},
                             {"TORCHELASTIC_RESTART_COUNT", "0"}};
const Variables kOpenMpi = {
    {"OMPI_COMM_WORLD_RANK", "3"},       {"OMPI_COMM_WORLD_SIZE", "4"},
    {"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
    {"PMIX_NAMESPACE", "2155610113"},    {"PMIX_RANK", "3"}};
const Variables kHydra = {
    {"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}};
const Variables kSlurm = {{"SLURM_PROCID", "9"},
                          {"SLURM_NTASKS", "16"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_NODELIST", "gpu[017-018]"},
                          {"SLURM_LAUNCH_NODE_IPADDR", "10.1.0.1"},
                          {"SLURM_JOB_ID", "4711"},
                          {"SLURM_STEP_ID", "0"}};

TEST(LaunchEnv, Torchrun) {
  const auto launch = read(kTorchrun);
  ASSERT_TRUE(launch) << launch.error().message();
  EXPECT_EQ(launch->launcher, "torchrun");
  EXPECT_EQ(launch->rank, 5);
  EXPECT_EQ(launch->ranks, 16);
  EXPECT_EQ(launch->local_rank, 1);
  EXPECT_EQ(launch->local_ranks, 4);
  EXPECT_EQ(launch->root_host, "trainer-0.trainer");
  EXPECT_EQ(launch->root_port, 29501);  // torchrun's store has 29500
  EXPECT_EQ(launch->root_ports, kRootPortCount);
}

TEST(LaunchEnv, OpenMpiOnOneHostNeedsNothingElse) {
  const auto launch = read(kOpenMpi);
  ASSERT_TRUE(launch) << launch.error().message();
  EXPECT_EQ(launch->launcher, "Open MPI");
  EXPECT_EQ(launch->rank, 3);
  EXPECT_EQ(launch->ranks, 4);
  EXPECT_EQ(launch->local_rank, 3);
  EXPECT_EQ(launch->local_ranks, 4);
  EXPECT_EQ(launch->root_host, "127.0.0.1");
  EXPECT_GE(launch->root_port, 1024);
  EXPECT_LT(launch->root_port + launch->root_ports, 32768);  // not a port of outgoing connections
}

TEST(LaunchEnv, OpenMpiOnSeveralHostsNeedsAnAddress) {
  const Variables several = with(kOpenMpi, {{"OMPI_COMM_WORLD_SIZE", "8"}});
  const auto launch = read(several);
  ASSERT_FALSE(launch);
  EXPECT_THAT(std::string(launch.error().message()),
              AllOf(HasSubstr("Open MPI does not tell where rank 0 is"), HasSubstr("MASTER_ADDR"),
                    HasSubstr("RAILCCL_COMM_ID")));
  const auto with_master = read(with(several, {{"MASTER_ADDR", "n1"}, {"MASTER_PORT", "5000"}}));
  ASSERT_TRUE(with_master);
  EXPECT_EQ(with_master->root_host, "n1");
  EXPECT_EQ(with_master->root_port, 5001);
}

TEST(LaunchEnv, Pmi) {
  const auto launch = read(kHydra);
  ASSERT_TRUE(launch) << launch.error().message();
  EXPECT_EQ(launch->launcher, "PMI");
  EXPECT_EQ(launch->rank, 1);
  EXPECT_EQ(launch->local_ranks, 2);
  EXPECT_EQ(launch->root_host, "127.0.0.1");
}

TEST(LaunchEnv, Slurm) {
  const auto launch = read(kSlurm);
  ASSERT_TRUE(launch) << launch.error().message();
  EXPECT_EQ(launch->launcher, "Slurm");
  EXPECT_EQ(launch->rank, 9);
  EXPECT_EQ(launch->ranks, 16);
  EXPECT_EQ(launch->local_rank, 1);
  EXPECT_EQ(launch->local_ranks, 0);
  EXPECT_EQ(launch->root_host, "gpu017");
  // The step's own numbers win over the job's.
  const auto step =
      read(with(kSlurm, {{"SLURM_STEP_NUM_TASKS", "12"}, {"SLURM_STEP_NODELIST", "gpu018"}}));
  ASSERT_TRUE(step);
  EXPECT_EQ(step->ranks, 12);
  EXPECT_EQ(step->root_host, "gpu018");
  Variables bare = kSlurm;
  bare.erase("SLURM_NODELIST");
  EXPECT_EQ(read(bare)->root_host, "10.1.0.1");
}

TEST(LaunchEnv, AllRanksOfAStartAgreeAndOtherStartsDiffer) {
  const auto rank_0 = read(with(kTorchrun, {{"RANK", "0"}, {"LOCAL_RANK", "0"}}));
  const auto rank_5 = read(kTorchrun);
  EXPECT_EQ(rank_0->secret, rank_5->secret);
  const auto slurm_0 = read(with(kSlurm, {{"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}}));
  EXPECT_EQ(slurm_0->secret, read(kSlurm)->secret);
  EXPECT_EQ(slurm_0->root_port, read(kSlurm)->root_port);
  const std::vector<Result<LaunchEnv>> others = {
      read(with(kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "1"}})),
      read(with(kTorchrun, {{"TORCHELASTIC_RUN_ID", "other"}})),
      read(with(kTorchrun, {{"WORLD_SIZE", "17"}})),
      read(kTorchrun, {.job_secret = "s"}),
      read(kTorchrun, {.instance = 1}),
      read(kSlurm),
      read(with(kSlurm, {{"SLURM_STEP_ID", "1"}})),
      read(with(kSlurm, {{"SLURM_JOB_ID", "4712"}})),
  };
  for (size_t i = 0; i < others.size(); ++i) {
    EXPECT_NE(others[i]->secret, rank_5->secret) << i;
    for (size_t j = 0; j < i; ++j) EXPECT_NE(others[i]->secret, others[j]->secret);
  }
}

TEST(LaunchEnv, TheCommIdWins) {
  const auto launch = read(kTorchrun, {.comm_id = "[fd00::1]:4000"});
  ASSERT_TRUE(launch);
  EXPECT_EQ(launch->root_host, "fd00::1");
  EXPECT_EQ(launch->root_port, 4000);
  EXPECT_EQ(launch->root_ports, 1);
  const auto bad = read(kTorchrun, {.comm_id = "nonsense"});
  ASSERT_FALSE(bad);
  EXPECT_THAT(std::string(bad.error().message()), HasSubstr("RAILCCL_COMM_ID: 'nonsense'"));
}

TEST(LaunchEnv, TorchrunInsideSlurmIsTorchrun) {
  EXPECT_EQ(read(with(kSlurm, kTorchrun))->launcher, "torchrun");
  EXPECT_EQ(read(with(kSlurm, kOpenMpi))->launcher, "Open MPI");
}

TEST(LaunchEnv, PortsAtTheEndOfTheRangeStayInIt) {
  for (const int port : {65527, 65528, 65535}) {
    const auto launch = read(with(kTorchrun, {{"MASTER_PORT", std::to_string(port)}}));
    ASSERT_TRUE(launch) << port;
    EXPECT_LE(launch->root_port + launch->root_ports - 1, 65535);
    EXPECT_TRUE(launch->root_port > port || launch->root_port + launch->root_ports - 1 < port);
  }
}

TEST(LaunchEnv, NothingAtAllSaysHowToStart) {
  const auto launch = read({});
  ASSERT_FALSE(launch);
  EXPECT_EQ(launch.error().code(), Code::kInvalidUsage);
  EXPECT_THAT(std::string(launch.error().message()),
              AllOf(HasSubstr("torchrun"), HasSubstr("mpirun"), HasSubstr("srun"),
                    HasSubstr("ncclCommInitRank")));
}

struct Wrong {
  Variables variables;
  std::string part;
};

TEST(LaunchEnv, WhatIsMissingOrContradictsIsNamed) {
  Variables no_port = kTorchrun;
  no_port.erase("MASTER_PORT");
  Variables no_master = no_port;
  no_master.erase("MASTER_ADDR");
  const std::vector<Wrong> all = {
      {{{"RANK", "1"}}, "RANK is set but WORLD_SIZE is not"},
      {{{"WORLD_SIZE", "4"}}, "WORLD_SIZE is set but RANK is not"},
      {{{"SLURM_NTASKS", "4"}}, "SLURM_NTASKS is set but SLURM_PROCID is not"},
      {{{"PMIX_RANK", "4"}}, "PMIX_RANK is set"},
      {{{"RANK", ""}, {"WORLD_SIZE", "4"}}, "WORLD_SIZE is set but RANK is not"},
      {with(kTorchrun, {{"RANK", "16"}}), "RANK=16 and WORLD_SIZE=16 contradict each other"},
      {with(kTorchrun, {{"RANK", "-1"}}), "RANK='-1' is not a number"},
      {with(kTorchrun, {{"RANK", "1x"}}), "RANK='1x' is not a number"},
      {with(kTorchrun, {{"WORLD_SIZE", "0"}, {"RANK", "0"}}), "contradict each other"},
      {with(kTorchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK=4, LOCAL_WORLD_SIZE=4"},
      {with(kTorchrun, {{"LOCAL_WORLD_SIZE", "17"}}), "LOCAL_WORLD_SIZE=17"},
      {with(kTorchrun, {{"MASTER_PORT", "0"}}), "MASTER_PORT=0 is not a port"},
      {with(kTorchrun, {{"MASTER_PORT", "70000"}}), "MASTER_PORT=70000 is not a port"},
      {no_port, "MASTER_PORT is not set"},
      {no_master, "MASTER_ADDR and MASTER_PORT are not set"},
      {with(kSlurm, {{"SLURM_NODELIST", "gpu["}}), "SLURM_NODELIST='gpu[' is not a Slurm node"},
  };
  for (const Wrong& wrong : all) {
    const auto launch = read(wrong.variables);
    ASSERT_FALSE(launch) << wrong.part;
    EXPECT_EQ(launch.error().code(), Code::kInvalidUsage);
    EXPECT_THAT(std::string(launch.error().message()), HasSubstr(wrong.part));
  }
}

TEST(LaunchEnv, FirstHostOfASlurmNodeList) {
  const std::map<std::string, std::string> lists = {
      {"gpu7", "gpu7"},
      {"gpu7,gpu9", "gpu7"},
      {"gpu[003-010,12],login", "gpu003"},
      {"gpu[12,14]", "gpu12"},
      {"rack1-gpu[1-2]-ib,rack2", "rack1-gpu1-ib"},
      {"a[1-2],b[3-4]", "a1"},
      {"a[1]", "a1"},
      {"login,gpu[1-2]", "login"},
      {"gpu[", ""},
      {"gpu[]", ""},
      {"gpu[1-2", ""},
      {"r[1-2]n[1-4]", ""},
      {"", ""},
  };
  for (const auto& [list, host] : lists) EXPECT_EQ(first_slurm_host(list), host) << list;
}

}  // namespace
}  // namespace railccl
