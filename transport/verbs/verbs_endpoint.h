// One rail's connection to one peer over RC queue pairs. Created by VerbsRail; the rail's thread.
//
//   kOpen --connect()--> kConnecting --hello from the peer--> kConnected
//     any of these --error--> kFailed        any state --close()--> kClosing --drained--> kClosed
//
// Connecting: the queue pairs are started by the device's slow calls, since to look for the peer
// may take a second. While that is under way, an endpoint that fails or is closed leaves them as
// they are, and completions are kept. Then the side with the smaller nonce sends a hello on the
// first queue pair, which its NIC repeats until the other side is ready; when the NIC gives up, the
// queue pairs are reset and it begins again, until the connect timeout. The other side answers with
// its own hello. Nobody else sends before, so that a reset loses nothing.
//
// Closing: an endpoint without puts in flight tells its peer (farewell) and waits a little for
// that to be acknowledged; then, and at once when puts are in flight or it has failed, the queue
// pairs go to the error state, in which the NIC accepts and sends nothing, and everything posted is
// drained and accounted for: that is kClosed. Destroying them is left to another thread of the
// device; only when they do not drain is kClosed put off until they are gone.
#pragma once

#include <future>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "transport/rail.h"
#include "transport/verbs/queue_pair.h"

namespace railccl::verbs {

class VerbsEndpoint;

// The rail, as its endpoints see it.
class EndpointHost {
 public:
  virtual ~EndpointHost() = default;
  virtual const RailInfo& info() const = 0;
  virtual const VerbsApi& api() const = 0;
  virtual bool port_up() const = 0;
  virtual TimeNs now() const = 0;  // of the last progress
  virtual Result<Local> local() = 0;
  // During progress only.
  virtual void raise(const RailEvent& event) = 0;
  // Where a peer puts bytes; null: not memory that this rail has and the host can read and write.
  virtual std::byte* find_data(uint64_t key, uint64_t offset, uint64_t bytes) const = 0;
  // The endpoint has deadlines or events to report: tick() is to be called, soon and again.
  virtual void want_ticks() = 0;
  virtual void on_destroyed(VerbsEndpoint& endpoint) = 0;
};

class VerbsEndpoint final : public Endpoint {
 public:
  static Result<std::unique_ptr<VerbsEndpoint>> create(uint64_t tag, uint32_t id,
                                                       VerbsDevice& device,
                                                       const VerbsRailOptions& options,
                                                       EndpointHost& host);
  ~VerbsEndpoint() override;

  // Endpoint:
  std::vector<std::byte> address() const override;
  Status connect(const std::vector<std::byte>& peer_address) override;
  Status put(const Put& put) override;
  void close() override;

  // For the rail, during progress:
  uint32_t id() const { return id_; }
  void on_completion(const WorkId& id, const ibv_wc& completion);
  // One of its queue pairs was ended by the NIC.
  void on_queue_pair_event(const char* what);
  // Its port has another address now.
  void on_moved(const char* what);
  const Local& local() const { return local_; }
  void tick();
  // Whether tick() has to be called again.
  bool wants_ticks() const;

 private:
  enum class State : uint8_t { kOpen, kConnecting, kConnected, kFailed, kClosing, kClosed };

  VerbsEndpoint(uint64_t tag, uint32_t id, VerbsDevice& device, const VerbsRailOptions& options,
                EndpointHost& host)
      : tag_(tag), id_(id), device_(device), options_(options), host_(host) {}
  Status check_put(const Put& put) const;
  void start_queue_pairs();
  bool is_starting() const { return started_.valid(); }
  // False: it goes on.
  bool finish_start();
  void on_completion_of(QueuePair& pair, const WorkId& id, const ibv_wc& completion);
  void say_hello();
  // `data`: where the bytes of its put are; null: unknown, or none.
  void on_message(const Message& message, const std::byte* data);
  void start_service();
  void on_hello(const Message& message);
  void on_send_done(QueuePair& pair, uint32_t sequence, const ibv_wc& completion);
  void on_receive_done(QueuePair& pair, uint32_t slot, const ibv_wc& completion);
  void refuse(const Status& reason);
  // True: the hello is tried again.
  bool restart_after(const ibv_wc& completion);
  void complete(QueuePair& pair, uint64_t token, const Status& status);
  void fail(const Status& reason);
  void stop_queue_pairs();
  bool drained() const;
  bool let_go(TimeNs now);
  void finish_close();

  const uint64_t tag_;
  const uint32_t id_;
  VerbsDevice& device_;
  const VerbsRailOptions& options_;
  EndpointHost& host_;
  uint64_t nonce_ = 0;
  Local local_;
  AddressBlob peer_;
  std::vector<std::unique_ptr<QueuePair>> pairs_;
  size_t used_pairs_ = 0;  // that the peer has, too
  size_t next_pair_ = 0;

  std::shared_ptr<Starting> starting_;            // the last one
  std::future<std::vector<Started>> started_;     // what it brings for each queue pair
  std::vector<std::pair<WorkId, ibv_wc>> early_;  // completions before that

  State state_ = State::kOpen;
  Status reason_;            // why it ended
  Status refusal_;           // why it ends when the peer has been told, or that has taken too long
  bool stopped_ = false;     // the queue pairs are in the error state
  bool restarting_ = false;  // stopped, to send the hello again
  bool saying_farewell_ = false;
  bool letting_go_ = false;   // the queue pairs did not drain and are being destroyed
  TimeNs connect_until_ = 0;  // 0: set by the first tick that finds the queue pairs started
  TimeNs farewell_until_ = 0;
  TimeNs drain_until_ = 0;
};

}  // namespace railccl::verbs
