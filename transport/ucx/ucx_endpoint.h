// One rail's connection to one peer over UCX. Created by UcxRail; the rail's thread.
//
//   kOpen --connect()--> kConnecting --hello from the peer--> kConnected
//     any of these --error or close()--> kEnding --channel gone--> kFailed or kClosed
//     kFailed --close()--> kEnding --> kClosed
//
// Both sides say hello when they connect; whoever has heard it is connected.
//
// Ending: a word to the peer where that can be said (farewell, waited for a little), then the
// channel is destroyed, by a thread of its own. Only then puts that were not done complete with the
// error, and kFailed or kClosed comes.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "transport/net/poller.h"
#include "transport/rail.h"
#include "transport/slow_calls.h"
#include "transport/ucx/channel.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_transport.h"

namespace railccl::ucx {

class UcxEndpoint;

// The rail, as its endpoints see it.
class EndpointHost {
 public:
  virtual ~EndpointHost() = default;
  virtual const RailInfo& info() const = 0;
  virtual const UcxContext& context() const = 0;
  virtual const MemoryTable& memory() const = 0;
  virtual net::Poller& poller() = 0;
  virtual TimeNs now() const = 0;  // of the last progress
  virtual bool port_up() const = 0;
  // During progress only.
  virtual void raise(const RailEvent& event) = 0;
  // progress() of the endpoint is to be called, soon and until it has had nothing to do for long.
  virtual void want_progress(UcxEndpoint& endpoint) = 0;
  // The endpoint has deadlines or events to report: tick() is to be called, soon and again.
  virtual void want_ticks() = 0;
  virtual void on_destroyed(UcxEndpoint& endpoint) = 0;
};

class UcxEndpoint final : public Endpoint, public net::Pollable {
 public:
  static Result<std::unique_ptr<UcxEndpoint>> create(uint64_t tag, const UcxRailOptions& options,
                                                     EndpointHost& host);
  ~UcxEndpoint() override;

  // Endpoint:
  std::vector<std::byte> address() const override;
  Status connect(const std::vector<std::byte>& peer_address) override;
  Status put(const Put& put) override;
  void close() override;

  // Pollable:
  void on_ready(uint32_t /*ready*/) override { host_.want_progress(*this); }

  // For the rail, during progress:
  // True when it did anything.
  bool progress();
  // True: its descriptor tells when there is something to do. False: there is now.
  bool arm() { return channel_ == nullptr || channel_->arm(); }
  void tick();
  // Whether tick() has to be called again.
  bool wants_ticks() const { return state_ == State::kConnecting || state_ == State::kEnding; }
  // The registration with this key is being destroyed.
  void on_registration_gone(uint64_t key);

 private:
  enum class State : uint8_t { kOpen, kConnecting, kConnected, kEnding, kFailed, kClosed };

  UcxEndpoint(uint64_t tag, const UcxRailOptions& options, EndpointHost& host)
      : tag_(tag), options_(options), host_(host) {}
  Status check_put(const Put& put) const;
  void act_on(const Happening& happening);
  void on_hello(uint64_t peer_session);
  void start_service();
  void on_placed(const Happening& happening);
  void complete(uint64_t token, size_t bytes, const Status& status);
  void fail(const Status& reason, bool tell);
  void end(const Status& reason, bool tell);
  void step_ending();
  void dispose_channel();
  void finish();

  const uint64_t tag_;
  const UcxRailOptions& options_;
  EndpointHost& host_;
  uint64_t session_ = 0;
  uint64_t peer_session_ = 0;
  uint64_t heard_from_ = 0;  // the session that said hello; 0: nobody
  std::vector<std::byte> worker_address_;
  std::unique_ptr<Channel> channel_;
  std::vector<OutgoingPut> lost_;  // of the channel that is being disposed of
  std::vector<uint64_t> targets_;  // the same
  std::vector<Happening> happened_;

  State state_ = State::kOpen;
  Status reason_;             // why it ended
  bool closing_ = false;      // close() was called
  TimeNs connect_until_ = 0;  // 0: set by the first tick
  TimeNs farewell_until_ = 0;

  std::future<void> disposed_;  // done: fenced
  SlowCalls slow_calls_;        // of its own, as other endpoints' channels may take long
};

}  // namespace railccl::ucx
