// How ranks meet: all places get to all ranks, and what goes wrong is said to all of them.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <set>
#include <thread>

#include "src/core/bootstrap_contact.h"
#include "src/core/net_address.h"
#include "src/core/unique_id.h"
#include "tests/core/bootstrap_world.h"

namespace railccl::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void expect_all_met(const std::vector<PathResult>& results) {
  const int ranks = static_cast<int>(results.size());
  for (int rank = 0; rank < ranks; ++rank) {
    const PathResult& result = results[static_cast<size_t>(rank)];
    ASSERT_TRUE(result) << "rank " << rank << ": " << result.error().message();
    EXPECT_EQ((*result)->rank(), rank);
    EXPECT_EQ((*result)->ranks(), ranks);
    for (int other = 0; other < ranks; ++other) {
      const auto info = (*result)->info(other);
      ASSERT_EQ(std::vector(info.begin(), info.end()), info_of(other))
          << "rank " << rank << " about rank " << other;
    }
  }
}

template <typename Matcher>
void expect_all_failed(const std::vector<PathResult>& results, Code code, const Matcher& matcher) {
  for (size_t i = 0; i < results.size(); ++i) {
    ASSERT_FALSE(results[i]) << "process " << i;
    EXPECT_EQ(results[i].error().code(), code) << results[i].error().message();
    EXPECT_THAT(std::string(results[i].error().message()), matcher) << "process " << i;
  }
}

class MeetingOfRanks : public ::testing::TestWithParam<int> {};

TEST_P(MeetingOfRanks, EveryRankLearnsWhatAllOthersGave) {
  const UniqueIdBytes id = loopback_id();
  expect_all_met(connect_threads({&id, 1}, GetParam()));
}
// 9 and 10: the second level of the tree begins; 73 and 74: the third.
INSTANTIATE_TEST_SUITE_P(Sizes, MeetingOfRanks, ::testing::Values(1, 2, 3, 9, 10, 33, 73, 74));

TEST(Meeting, WorksOverIpv6) {
  const auto has_v6 = boot::resolve({.host = "::1", .port = 1}, 0);
  if (!has_v6 || boot::open_listener(has_v6->front().with_port(0)).problem != 0) {
    GTEST_SKIP() << "this machine has no ::1";
  }
  BootstrapOptions options = loopback_options(0, 4);
  options.family = AF_INET6;
  const auto id = create_unique_id(options, "");
  ASSERT_TRUE(id) << id.error().message();
  expect_all_met(connect_threads({&*id, 1}, 4, [](BootstrapOptions& one) {
    one.family = AF_INET6;
    one.interface_spec = "";
  }));
}

// As all_reduce_perf --local starts ranks under NCCL_SOCKET_FAMILY=AF_INET6.
TEST(Meeting, APlaceThatIsANumberIsOfItsOwnFamily) {
  const auto number = boot::resolve({.host = "127.0.0.1", .port = 1}, AF_INET6);
  ASSERT_TRUE(number) << number.error().message();
  EXPECT_EQ(number->front().family(), AF_INET);
  EXPECT_EQ(number->size(), 1u);
  EXPECT_FALSE(boot::resolve({.host = "no such host", .port = 1}, AF_INET6));
}

struct Roots {
  int ranks;
  int ids;
};
class MeetingAtRoots : public ::testing::TestWithParam<Roots> {};

TEST_P(MeetingAtRoots, SeveralIdsMakeOneCommunicator) {
  std::vector<UniqueIdBytes> ids;
  for (int i = 0; i < GetParam().ids; ++i) ids.push_back(loopback_id());
  expect_all_met(connect_threads(ids, GetParam().ranks));
}
INSTANTIATE_TEST_SUITE_P(Shapes, MeetingAtRoots,
                         ::testing::Values(Roots{2, 2}, Roots{5, 2}, Roots{7, 3}, Roots{40, 11},
                                           Roots{12, 12}, Roots{3, 5}));

TEST(Meeting, ArgumentsAreChecked) {
  const UniqueIdBytes id = loopback_id();
  const std::atomic<bool> abort{false};
  const auto code_of = [&](std::span<const UniqueIdBytes> ids, int rank, int ranks, size_t info) {
    const std::vector<std::byte> blob(info);
    return connect_bootstrap(ids, loopback_options(rank, ranks), blob, abort).error().code();
  };
  UniqueIdBytes zeros{};
  UniqueIdBytes damaged = id;
  damaged[12] = damaged[13] = std::byte{0};  // the port
  EXPECT_EQ(code_of({}, 0, 1, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of({&zeros, 1}, 0, 1, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of({&damaged, 1}, 0, 1, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of({&id, 1}, -1, 2, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of({&id, 1}, 2, 2, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of({&id, 1}, 0, 0, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of({&id, 1}, 0, 1, kMaxInfoBytes + 1), Code::kInvalidArgument);
}

// A listener that takes connections and never says a word.
struct SilentProgram {
  SilentProgram() : socket(boot::open_listener(loopback())) {
    port = boot::local_address(socket.fd.get()).port();
  }
  static boot::SocketAddress loopback() {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return {reinterpret_cast<const sockaddr*>(&in), sizeof in};
  }
  boot::Socket socket;
  uint16_t port = 0;
};

// Nobody listens there now.
uint16_t free_port() { return SilentProgram().port; }

// Ranks `present` of `ranks` come.
std::vector<PathResult> connect_some(const UniqueIdBytes& id, const std::vector<int>& present,
                                     int ranks, TimeNs timeout) {
  std::atomic<size_t> next{0};
  return connect_threads({&id, 1}, static_cast<int>(present.size()),
                         [&](BootstrapOptions& options) {
                           options.rank = present[next.fetch_add(1)];
                           options.ranks = ranks;
                           options.rank_timeout_ns = timeout;
                         });
}

TEST(Meeting, AMissingRankIsNamedOnEveryOther) {
  const TimeNs timeout = 300 * kMillisecond;
  const UniqueIdBytes id = loopback_id(timeout);
  expect_all_failed(connect_some(id, {0, 1, 3, 4}, 6, kPatience), Code::kTimeout,
                    AllOf(HasSubstr("ranks 2, 5 did not come"), HasSubstr("waited 0.3 s"),
                          HasSubstr("4 of 6 are here")));
}

TEST(Meeting, AMissingRankAtOneOfSeveralRootsIsNamedOnEveryOther) {
  const TimeNs timeout = 300 * kMillisecond;
  const std::vector<UniqueIdBytes> ids = {loopback_id(), loopback_id(timeout), loopback_id()};
  const std::vector<int> present = {0, 1, 2, 3, 5, 6, 7, 8};  // roots have 0-2, 3-5, 6-8
  std::atomic<size_t> next{0};
  const auto results = connect_threads(ids, 8, [&](BootstrapOptions& options) {
    options.rank = present[next.fetch_add(1)];
    options.ranks = 9;
  });
  expect_all_failed(results, Code::kTimeout, HasSubstr("rank 4 did not come"));
}

TEST(Meeting, WhoComesAfterTheFailureIsToldToo) {
  const TimeNs timeout = 100 * kMillisecond;
  const UniqueIdBytes id = loopback_id(timeout);
  expect_all_failed(connect_some(id, {0}, 3, kPatience), Code::kTimeout, HasSubstr("did not come"));
  expect_all_failed(connect_some(id, {1}, 3, 3 * kSecond), Code::kTimeout, HasSubstr("o"));
}

TEST(Meeting, OneRankTwiceIsToldToAll) {
  const UniqueIdBytes id = loopback_id();
  expect_all_failed(connect_some(id, {0, 1, 1, 2}, 5, kPatience), Code::kMismatch,
                    HasSubstr("rank 1 came twice"));
}

TEST(Meeting, DifferentNumbersOfRanksAreToldToAll) {
  const UniqueIdBytes id = loopback_id();
  std::atomic<int> next{0};
  const auto results = connect_threads({&id, 1}, 4, [&](BootstrapOptions& options) {
    options.rank = next.fetch_add(1);
    options.ranks = options.rank == 2 ? 6 : 5;
  });
  expect_all_failed(results, Code::kMismatch,
                    AllOf(HasSubstr("says there are"), HasSubstr("5"), HasSubstr("6")));
}

TEST(Meeting, IdsInAnotherOrderAreToldToAll) {
  const std::vector<UniqueIdBytes> ids = {loopback_id(), loopback_id()};
  const std::vector<UniqueIdBytes> swapped = {ids[1], ids[0]};
  std::vector<PathResult> results(4);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank) {
    threads.emplace_back([&, rank] {
      results[static_cast<size_t>(rank)] =
          connect_rank(rank == 1 ? swapped : ids, loopback_options(rank, 4));
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_all_failed(results, Code::kMismatch, HasSubstr("another list of unique ids"));
}

// Ranks 2 and 3 are all that one of the roots waits for; rank 1 comes there later, by mistake.
TEST(Meeting, IdsInAnotherOrderAreToldAlsoWhenAllOthersAreHere) {
  const std::vector<UniqueIdBytes> ids = {loopback_id(), loopback_id()};
  boot::Poller poller = std::move(*boot::Poller::create());
  std::vector<std::unique_ptr<boot::RootContact>> contacts;
  const auto patient = [&](const auto& done) {
    const TimeNs end = system_clock().now_ns() + kPatience;
    while (!done()) {
      ASSERT_LT(system_clock().now_ns(), end);
      for (const auto& contact : contacts) {
        ASSERT_TRUE(contact->progress(system_clock().now_ns()));
      }
      (void)poller.ready(5);
    }
  };
  for (const uint32_t rank : {2u, 3u}) {
    const boot::Hello who{.purpose = boot::Purpose::kJoin, .from = rank, .ranks = 4};
    contacts.push_back(
        std::make_unique<boot::RootContact>(*boot::unpack_unique_id(ids[1]), who, 0, poller));
    patient([&] { return contacts.back()->connected(); });
    contacts.back()->join({.roots = 2, .root = 1, .address = SilentProgram::loopback()});
  }
  patient([&] { return contacts.back()->take_parent().has_value(); });

  const auto lost =
      connect_rank(std::vector<UniqueIdBytes>{ids[1], ids[0]}, loopback_options(1, 4));
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code(), Code::kMismatch) << lost.error().message();
  EXPECT_THAT(std::string(lost.error().message()), HasSubstr("another list of unique ids"));
  for (const auto& contact : contacts) {
    Status told;
    const TimeNs end = system_clock().now_ns() + kPatience;
    while (told && system_clock().now_ns() < end) {
      (void)poller.ready(5);
      told = contact->progress(system_clock().now_ns());
    }
    EXPECT_EQ(told.code(), Code::kMismatch) << told.message();
  }
}

TEST(Meeting, ARankThatDiesAfterItCameIsNamedToAllOthers) {
  const UniqueIdBytes id = loopback_id();
  std::thread dying([&] {
    boot::Poller poller = std::move(*boot::Poller::create());
    boot::RootContact contact(*boot::unpack_unique_id(id),
                              {.purpose = boot::Purpose::kJoin, .from = 2, .ranks = 4}, 0, poller);
    const TimeNs end = system_clock().now_ns() + kPatience;
    while (!contact.connected() && system_clock().now_ns() < end) {
      ASSERT_TRUE(contact.progress(system_clock().now_ns()));
      (void)poller.ready(5);
    }
    contact.join({.address = SilentProgram::loopback(), .pid = 77, .host = "elsewhere"});
  });
  expect_all_failed(connect_some(id, {0, 1, 3}, 4, kPatience), Code::kPeerFailed,
                    HasSubstr("rank 2 (host elsewhere, process 77) ended while the ranks were"));
  dying.join();
}

TEST(Meeting, AbortEndsItOnAllRanks) {
  const UniqueIdBytes id = loopback_id();
  std::atomic<bool> abort{false};
  std::vector<PathResult> results(2);
  std::thread other([&] { results[1] = connect_rank({&id, 1}, loopback_options(1, 3)); });
  std::thread aborted([&] {
    results[0] = connect_bootstrap({&id, 1}, loopback_options(0, 3), {}, abort);
  });
  abort = true;
  aborted.join();
  EXPECT_EQ(results[0].error().code(), Code::kAborted);
  // The other one hears of it only if rank 0 had reached the root; else it is told who is missing.
  abort = false;
  const std::vector<PathResult> rest = connect_some(id, {2}, 4, kPatience);
  other.join();
  EXPECT_FALSE(rest[0]);
  EXPECT_FALSE(results[1]);
}

TEST(Meeting, NobodyAtTheRootIsAnErrorThatSaysWhatToLookAt) {
  const uint16_t port = free_port();
  const auto id = derive_unique_id("127.0.0.1", {.first = port}, "secret");
  ASSERT_TRUE(id);
  expect_all_failed(connect_some(*id, {1}, 2, 200 * kMillisecond), Code::kTimeout,
                    AllOf(HasSubstr("rank 1 on host host"), HasSubstr("Connection refused"),
                          HasSubstr("MASTER_ADDR"), HasSubstr("firewall")));
}

TEST(Meeting, AnotherProgramAtTheRootsAddressIsNamed) {
  const SilentProgram silent;
  const auto id = derive_unique_id("127.0.0.1", {.first = silent.port}, "secret");
  ASSERT_TRUE(id);
  expect_all_failed(connect_some(*id, {0}, 2, 1500 * kMillisecond), Code::kTimeout,
                    HasSubstr("takes connections but does not answer"));
}

TEST(Meeting, AHostNameThatDoesNotResolveIsNamed) {
  const auto id = derive_unique_id("no-such-host.invalid", {.first = 4000}, "secret");
  ASSERT_TRUE(id);
  expect_all_failed(connect_some(*id, {0}, 2, 100 * kMillisecond), Code::kTimeout,
                    HasSubstr("'no-such-host.invalid' cannot be resolved"));
}

TEST(Meeting, ADerivedIdFindsTheRootOnTheNextFreePort) {
  const SilentProgram silent;  // has the first port
  const auto id = derive_unique_id("127.0.0.1", {.first = silent.port, .count = 4}, "job 17");
  ASSERT_TRUE(id);
  ASSERT_TRUE(serve_unique_id(*id, loopback_options(0, 3)));
  expect_all_met(connect_threads({&*id, 1}, 3));
}

TEST(Meeting, DerivedIdsWithAnotherSecretDoNotMeet) {
  const uint16_t port = free_port();
  const auto right = derive_unique_id("127.0.0.1", {.first = port}, "right");
  const auto wrong = derive_unique_id("127.0.0.1", {.first = port}, "wrong");
  ASSERT_TRUE(serve_unique_id(*right, loopback_options(0, 2)));
  expect_all_failed(connect_some(*wrong, {1}, 2, 300 * kMillisecond), Code::kTimeout,
                    HasSubstr("it has another key"));
  expect_all_met(connect_threads({&*right, 1}, 2));  // which the wrong one did not disturb
}

TEST(Meeting, NoFreePortForADerivedIdIsAnError) {
  const SilentProgram silent;
  const auto id = derive_unique_id("127.0.0.1", {.first = silent.port}, "secret");
  const Status served = serve_unique_id(*id, loopback_options(0, 2));
  ASSERT_FALSE(served);
  EXPECT_THAT(std::string(served.message()),
              AllOf(HasSubstr("Address already in use"), HasSubstr("another MASTER_PORT")));
}

TEST(Meeting, WithAnAgreedAddressEveryRankMakesTheIdByItself) {
  const uint16_t port = free_port();
  const std::string address = fmt::format("127.0.0.1:{}", port);
  std::vector<UniqueIdBytes> ids;
  for (int rank = 0; rank < 3; ++rank) {
    const auto id = create_unique_id(loopback_options(rank, 3), address);
    ASSERT_TRUE(id) << id.error().message();
    ids.push_back(*id);
  }
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[0], ids[2]);
  expect_all_met(connect_threads({&ids[1], 1}, 3));
}

TEST(Meeting, AnAgreedAddressThatAnotherProgramHasIsAnError) {
  const SilentProgram silent;
  const auto id =
      create_unique_id(loopback_options(0, 2), fmt::format("127.0.0.1:{}", silent.port));
  ASSERT_FALSE(id);
  EXPECT_THAT(std::string(id.error().message()),
              AllOf(HasSubstr("RAILCCL_COMM_ID"), HasSubstr("Address already in use")));
}

TEST(Meeting, AddressesAndInterfacesThatMakeNoSenseAreErrors) {
  for (const char* address : {"host", "host:", ":1", "host:0", "host:70000", "::1:5", "[]:5"}) {
    const auto id = create_unique_id(loopback_options(0, 2), address);
    ASSERT_FALSE(id) << address;
    EXPECT_EQ(id.error().code(), Code::kInvalidArgument) << address;
  }
  BootstrapOptions options = loopback_options(0, 2);
  options.interface_spec = "=nosuch0";
  const auto id = create_unique_id(options, "");
  ASSERT_FALSE(id);
  EXPECT_THAT(std::string(id.error().message()),
              AllOf(HasSubstr("RAILCCL_SOCKET_IFNAME='=nosuch0'"), HasSubstr("lo (127.0.0.1)")));
}

TEST(Meeting, IdsAreUnique) {
  std::set<UniqueIdBytes> ids;
  for (int i = 0; i < 8; ++i) ids.insert(loopback_id());
  EXPECT_EQ(ids.size(), 8u);
}

}  // namespace
}  // namespace railccl::test
