// One endpoint's own UCX worker and its connection to the peer's. A worker of its own and not the
// rail's, because it makes the end certain: UCX 1.13 cannot cancel the receive of an active
// message, pairs the endpoints of two workers by the order in which they were made, and closes an
// endpoint in the background. A destroyed worker has no sockets and no queue pairs, so that nothing
// can land any more.
//
// How a put travels: as one active message, the PutHeader with the bytes as payload. The target
// looks up key and range and copies a small payload there (eager); of a large one it tells UCX the
// place (rendezvous): an RDMA transport then reads it from the source's memory, TCP writes it from
// the socket to its place. Never as a UCX put: its TCP would write wherever the sender says. When
// all bytes are there the target acknowledges.
//
// The endpoint's thread; the destructor, any other. UCX calls back from inside progress() and the
// destructor and from nowhere else; what it says is noted, and the endpoint acts on it afterwards.
#pragma once

#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "transport/ucx/outgoing_puts.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_registration.h"
#include "transport/ucx/wire.h"

namespace railccl::ucx {

struct Happening {
  enum class Kind : uint8_t {
    kHello,     // peer_session
    kPlaced,    // a put of the peer: put, data
    kPutDone,   // one of ours: token, put
    kFarewell,  // status: what the peer says
    kRefused,   // status: the peer did what it must not
    kBroken,    // status: UCX gave up on the connection
  };
  Kind kind;
  PutHeader put{};
  const std::byte* data = nullptr;
  uint64_t token = 0;
  uint64_t peer_session = 0;
  Status status;
};

class Channel {
 public:
  // `session`: what messages to this side begin with.
  static Result<std::unique_ptr<Channel>> create(const UcxContext& context,
                                                 const MemoryTable& memory,
                                                 const UcxRailOptions& options, uint64_t session);
  // UCX gives back everything that it was asked to do, in bounded time, and the worker ends. That
  // may take seconds: the kernel may hold a queue pair whose port is down.
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  Result<std::vector<std::byte>> worker_address() const;
  int fd() const { return fd_; }

  // Connects to the peer's worker and says hello.
  Status connect(const std::byte* worker_address, uint64_t peer_session);
  // kBackPressure: nothing was accepted. The put's source is registered here and large enough.
  Status put(const Put& put);
  // The put with this sequence is in its place. Goes out with flush_acknowledgements().
  void owe_acknowledgement(uint32_t sequence) { owed_.push_back(sequence); }
  void flush_acknowledgements();
  bool has_outgoing() const { return !outgoing_.empty(); }
  std::vector<OutgoingPut> outgoing() const { return outgoing_.all(); }

  // True when UCX did anything. What happened is appended to `happened`.
  bool progress(std::vector<Happening>& happened);
  // True: the descriptor becomes readable when there is something to do. False: there is now.
  bool arm();

  // --- The end, in this order; then the destructor.
  // Nothing more is received; what arrives is dropped.
  void refuse() { receiving_ = false; }
  bool is_receiving_into(uint64_t key) const;
  std::vector<uint64_t> targets() const;  // the keys that it is receiving into
  // False: it could not be said.
  bool say_farewell(std::string_view text);
  bool farewell_is_out() const { return farewell_out_; }

 private:
  // Something that UCX was asked to do.
  struct Request {
    Channel* channel = nullptr;
    enum class Kind : uint8_t { kPut, kHello, kAck, kFarewell, kFlush } kind = Kind::kHello;
    uint32_t slot = 0;  // of a put
  };
  struct Receive {
    Channel* channel = nullptr;
    PutHeader header;
    std::byte* place = nullptr;
    bool busy = false;
  };

  Channel(const UcxContext& context, const MemoryTable& memory, const UcxRailOptions& options,
          uint64_t session);
  const UcxApi& api() const { return context_.api(); }
  Status set_handlers();
  template <ucs_status_t (Channel::*on_message)(const void*, size_t, void*, size_t, bool)>
  Status set_handler(MessageKind kind);
  template <typename Header>
  bool take(Header& header, const void* bytes, size_t size) const;
  Status send(MessageKind kind, const void* header, size_t header_bytes, Request& request,
              const std::byte* data = nullptr, size_t bytes = 0, ucp_mem_h memory = nullptr);
  void note(Happening happening);
  void cancel();

  // Called by UCX:
  static void on_request_done(void* request, ucs_status_t status, void* user);
  static void on_receive_done(void* request, ucs_status_t status, size_t bytes, void* user);
  static void on_broken(void* user, ucp_ep_h endpoint, ucs_status_t status);
  void on_done(const Request& request, ucs_status_t status);
  ucs_status_t on_hello(const void* header, size_t size, void* data, size_t bytes, bool rendezvous);
  ucs_status_t on_put(const void* header, size_t size, void* data, size_t bytes, bool rendezvous);
  ucs_status_t on_ack(const void* header, size_t size, void* data, size_t bytes, bool rendezvous);
  ucs_status_t on_farewell(const void* header, size_t size, void* data, size_t bytes,
                           bool rendezvous);
  Result<std::byte*> locate(const PutHeader& put, size_t size, size_t bytes) const;
  ucs_status_t fetch(const PutHeader& header, std::byte* place, void* data);
  void on_put_placed(const PutHeader& header, const std::byte* place);
  void on_sequence_placed(uint32_t sequence);

  const UcxContext& context_;
  const MemoryTable& memory_;
  const UcxRailOptions& options_;
  const uint64_t session_;
  uint64_t peer_session_ = 0;
  Worker worker_;
  int fd_ = -1;
  ucp_ep_h endpoint_ = nullptr;
  OutgoingPuts outgoing_;
  std::vector<Request> put_requests_;  // by slot
  std::deque<Receive> receives_;       // places that stay
  std::vector<Receive*> free_receives_;
  size_t in_flight_ = 0;  // requests and receives that UCX has
  bool receiving_ = true;
  bool farewell_out_ = false;
  std::vector<uint32_t> owed_;
  bool ack_busy_ = false;
  // Headers, and what UCX hands back with them.
  Hello hello_;
  Ack ack_;
  Farewell farewell_;
  Request hello_request_;
  Request ack_request_;
  Request farewell_request_;
  Request flush_request_;
  std::vector<Happening>* happened_ = nullptr;  // during progress
  std::vector<Happening> pending_;              // noted outside of it
};

}  // namespace railccl::ucx
