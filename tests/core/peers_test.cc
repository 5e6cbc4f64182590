// The links of a communicator to its peers, over simulated rails.
#include "src/core/peers.h"

#include <gtest/gtest.h>

#include <array>

#include "src/core/rail_memory.h"
#include "transport/sim/sim_network.h"

namespace railccl {
namespace {

// One rank with one rail; what it sends on the control path is kept.
class Rank final : public RailHost, public PeersObserver, public EventSink {
 public:
  Rank(SimNetwork& network, int rank)
      : rail_(network.add_rail({.name = "rail" + std::to_string(rank)})),
        rails_{rail_.get()},
        inboxes_(2),
        memory_(*this),
        scratch_(4096) {
    auto registered = memory_.acquire(scratch_.data(), scratch_.size());
    EXPECT_TRUE(registered);
    scratch_memory_ = *registered;
    NodeInfo node;
    node.rails.push_back({.transport = TransportKind::kSim});
    peers = std::make_unique<Peers>(PeersOptions{.rank = rank}, *this,
                                    std::vector<NodeInfo>{node, node}, scratch_memory_.get(),
                                    inboxes_, *this);
  }
  ~Rank() override { peers.reset(); }

  std::span<Rail* const> rails() const override { return rails_; }
  uint64_t add_endpoint_sink(EndpointEventSink* sink) override {
    sink_ = sink;
    return 0;
  }
  void remove_endpoint_sink(uint64_t) override { sink_ = nullptr; }
  void on_event(const RailEvent& event) override {
    if (sink_ != nullptr) sink_->on_endpoint_event(0, event, 0);
  }
  void on_peers_failed(const Status& status) override { ADD_FAILURE() << status.message(); }
  void on_put_done(uint64_t, const Status&) override {}
  bool on_small_data(int, const MessageHeader&, std::span<const std::byte>) override {
    ++consumed;
    return true;
  }
  void send_to_peers(int, std::span<const std::byte> bytes) override {
    sent.emplace_back(bytes.begin(), bytes.end());
  }
  void progress() {
    rail_->progress(0, *this);
    peers->progress(0);
  }

  std::vector<std::vector<std::byte>> sent;
  int consumed = 0;  // small data

 private:
  std::unique_ptr<Rail> rail_;
  std::vector<Rail*> rails_;
  EndpointEventSink* sink_ = nullptr;
  std::vector<Inbox> inboxes_;
  RailMemory memory_;
  std::vector<std::byte> scratch_;
  std::shared_ptr<const RegisteredBuffer> scratch_memory_;

 public:
  std::unique_ptr<Peers> peers;
};

// Found by tests/simulate (seed 500): the offer of a peer that had not heard of an error yet made a
// new link, which nobody closed.
TEST(Peers, AnOfferThatComesAfterTheCloseMakesNoLink) {
  SimNetwork network;
  Rank early(network, 0);
  Rank late(network, 1);
  ASSERT_TRUE(late.peers->ensure(0, 0).is_ok());
  ASSERT_EQ(late.sent.size(), 1u);
  early.peers->close(Status(Code::kAborted, "another rank has failed"), 0);
  EXPECT_TRUE(early.peers->on_control_message(1, late.sent[0], 0).is_ok());
  EXPECT_TRUE(early.peers->linked().empty());
  EXPECT_TRUE(early.peers->closed());
  late.peers->close(Status(Code::kAborted, "the test ends"), 0);
  while (network.advance()) late.progress();
  EXPECT_TRUE(late.peers->closed());
}

// Two ranks whose link is connected.
class SmallData : public testing::Test {
 protected:
  static constexpr size_t kBytes = 8192;

  void SetUp() override {
    ASSERT_TRUE(ranks_[0].peers->ensure(1, 0).is_ok());
    ASSERT_TRUE(ranks_[1].peers->ensure(0, 0).is_ok());
    ASSERT_TRUE(ranks_[0].peers->on_control_message(1, ranks_[1].sent.at(0), 0).is_ok());
    ASSERT_TRUE(ranks_[1].peers->on_control_message(0, ranks_[0].sent.at(0), 0).is_ok());
  }
  // False: it does not go on.
  bool send(int from) {
    const MessageHeader header{.type = MessageType::kData, .fingerprint = {}};
    for (int round = 0; round < 10'000; ++round) {
      const auto sent = ranks_[static_cast<size_t>(from)].peers->send(1 - from, header, body_, 0);
      if (!sent) return false;
      progress();
      if (*sent) return true;
      ++refused_;
    }
    return false;
  }
  void progress() {
    network_.advance();
    for (Rank& rank : ranks_) rank.progress();
  }
  uint64_t message_bytes_received(int rank) {
    return ranks_[static_cast<size_t>(rank)]
        .peers->rail_reports()
        .at(0)
        .stats.message_bytes_received;
  }

  int refused_ = 0;
  SimNetwork network_;
  std::array<Rank, 2> ranks_{Rank(network_, 0), Rank(network_, 1)};
  std::vector<std::byte> body_ = std::vector<std::byte>(kBytes);
};

TEST_F(SmallData, OneWayItsCreditComesInMessagesOfItsOwn) {
  constexpr int kPuts = 200;  // six windows
  for (int i = 0; i < kPuts; ++i) ASSERT_TRUE(send(0)) << i;
  while (network_.advance()) progress();
  EXPECT_EQ(ranks_[1].consumed, kPuts);
  EXPECT_GE(message_bytes_received(0), 10 * sizeof(MessageHeader));
  EXPECT_GT(refused_, 0) << "nothing was ever waited for";
}

TEST_F(SmallData, BothWaysItsCreditTravelsWithIt) {
  constexpr int kPuts = 200;
  for (int i = 0; i < kPuts; ++i) {
    ASSERT_TRUE(send(0)) << i;
    ASSERT_TRUE(send(1)) << i;
  }
  while (network_.advance()) progress();
  for (const int rank : {0, 1}) {
    EXPECT_EQ(ranks_[static_cast<size_t>(rank)].consumed, kPuts);
    EXPECT_EQ(message_bytes_received(rank), kPuts * (sizeof(MessageHeader) + kBytes));
  }
}

TEST(CreditWindow, AllowsNoMoreThanIsConsumed) {
  CreditWindow sender(1000);
  CreditWindow receiver(1000);
  ASSERT_TRUE(sender.allows(1000));
  EXPECT_FALSE(sender.allows(1001));
  sender.sent(1000);
  EXPECT_TRUE(sender.allows(0));
  EXPECT_FALSE(sender.allows(1));
  receiver.consumed(499);
  EXPECT_FALSE(receiver.due());
  receiver.consumed(1);
  EXPECT_TRUE(receiver.due());
  ASSERT_TRUE(sender.on_told(receiver.to_tell()));
  receiver.told();
  EXPECT_FALSE(receiver.due());
  EXPECT_TRUE(sender.allows(500 / CreditWindow::kUnit * CreditWindow::kUnit));
  EXPECT_FALSE(sender.allows(500));
}

TEST(CreditWindow, CountsBeyondWhatIsTold) {
  CreditWindow sender(100'000);
  CreditWindow receiver(100'000);
  for (int i = 0; i < 200; ++i) {  // of 16 bits of units 4 times as many
    ASSERT_TRUE(sender.allows(99'900)) << i;
    sender.sent(99'900);
    receiver.consumed(99'900);
    ASSERT_TRUE(sender.on_told(receiver.to_tell())) << i;
  }
}

// The receiver has consumed all and tells nothing more by itself.
TEST(CreditWindow, WhatFitsIsNotWaitedForInVain) {
  for (const uint64_t bytes : {uint64_t{8192}, PeersOptions::kCreditBytes}) {
    const uint64_t largest = bytes / 2 - CreditWindow::kUnit;
    ASSERT_TRUE(CreditWindow::fits(bytes, largest));
    EXPECT_FALSE(CreditWindow::fits(bytes, largest + 1));
    for (uint64_t untold = 0; untold <= bytes / 2; ++untold) {
      CreditWindow sender(bytes);
      CreditWindow receiver(bytes);
      sender.sent(CreditWindow::kUnit - 1 + untold);
      receiver.consumed(CreditWindow::kUnit - 1);
      ASSERT_TRUE(sender.on_told(receiver.to_tell()));
      receiver.told();
      receiver.consumed(untold);
      ASSERT_TRUE(receiver.due() || sender.allows(largest)) << bytes << ", untold " << untold;
    }
  }
}

TEST(CreditWindow, RefusesMoreThanWasSent) {
  CreditWindow sender(100'000);
  sender.sent(10 * CreditWindow::kUnit);
  EXPECT_FALSE(sender.on_told(11));
  EXPECT_TRUE(sender.on_told(10));
  EXPECT_FALSE(sender.on_told(9)) << "it goes back";
}

}  // namespace
}  // namespace railccl
