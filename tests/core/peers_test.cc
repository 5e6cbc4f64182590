// The links of a communicator to its peers, over simulated rails.
#include "src/core/peers.h"

#include <gtest/gtest.h>

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
    return false;
  }
  void send_to_peers(int, std::span<const std::byte> bytes) override {
    sent.emplace_back(bytes.begin(), bytes.end());
  }
  void progress() {
    rail_->progress(0, *this);
    peers->progress(0);
  }

  std::vector<std::vector<std::byte>> sent;

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

}  // namespace
}  // namespace railccl
