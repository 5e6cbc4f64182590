// One RC queue pair of an endpoint: its states, its work requests, its messages.
//
// How a put travels: its bytes as an RDMA write (not signalled), then its notification as a send of
// one Message (signalled) on the same queue pair, which the peer's NIC executes in order: the
// receive completion of the send comes after the bytes are visible. Few bytes (kMostCarriedBytes)
// for the host's memory travel behind the Message in the same send, and the peer copies them into
// their place: one packet and one acknowledgement in place of two. Each message takes one of the
// peer's receive slots; every message says how many slots its sender has given back since the start
// (Credits), and one that says only this goes out when half of them are owed. A put that finds no
// credit or no room in the send queue gets back-pressure; the NIC's own "receiver not ready" is
// never the rule.
//
// The endpoint's thread. No events: results are returned to the endpoint.
#pragma once

#include <array>
#include <future>
#include <memory>
#include <span>
#include <vector>

#include "transport/verbs/queue_pair_start.h"
#include "transport/verbs/wire.h"
#include "transport/verbs/work_accounting.h"

namespace railccl::verbs {

// Which work request a completion is about:  endpoint 24 | queue pair 7 | receive 1 | sequence 32
struct WorkId {
  uint32_t endpoint = 0;
  uint8_t queue_pair = 0;
  bool receive = false;
  uint32_t sequence = 0;  // of the send window, or the receive slot
};
uint64_t encode(const WorkId& id);
WorkId decode_work_id(uint64_t wr_id);

// Messages in memory that the NIC reads or writes.
template <typename T>
struct Slots {
  std::vector<T> slots;
  MemoryHandle memory;
  uint64_t first = 0;  // the address that the NIC has for slots[0]

  uint64_t address(uint32_t slot) const { return first + slot * sizeof(T); }
};

class QueuePair {
 public:
  static Result<std::unique_ptr<QueuePair>> create(VerbsDevice& device,
                                                   const VerbsRailOptions& options,
                                                   uint32_t endpoint, uint8_t index);
  ~QueuePair();
  QueuePair(const QueuePair&) = delete;
  QueuePair& operator=(const QueuePair&) = delete;

  uint32_t number() const { return number_; }
  uint32_t receive_slots() const { return receive_slots_; }

  // How it begins to connect, in any state but while work is posted, ...
  QueuePairStart plan_start(const Local& local, const Remote& remote);
  // ... who does it, and what came of it: sends may follow.
  void start_by(std::shared_ptr<Starting> starting) { starting_ = std::move(starting); }
  void on_started(const Started& started);
  // Nothing more is sent or received; what is posted completes with an error, until drained().
  void stop();
  bool drained() const { return sends_.in_flight() == 0 && receives_posted_ == 0; }
  // The NIC lets go, whatever it still had to do; when destroyed(), it has. Nothing else after it.
  void destroy();
  bool destroyed() const;

  // kBackPressure: nothing was posted.
  Status put(const Put& put);
  // False: no room or no credit now.
  Result<bool> send(MessageKind kind, const Notification& words);
  // Returns credits when many are owed and there is room.
  Status return_credits();

  // The send window, for completions: see VerbsEndpoint.
  SendWindow& sends() { return sends_; }
  uint32_t puts_in_flight() const { return puts_in_flight_; }
  void count_put_done() { --puts_in_flight_; }
  // `bytes` have come into a slot. Once they are used it goes back to the NIC.
  Result<Message> take(uint32_t slot, size_t bytes);
  std::span<const std::byte> carried(uint32_t slot, size_t bytes) const;
  Status give_back(uint32_t slot);
  // A receive was returned without a message.
  void count_receive_lost() { --receives_posted_; }

 private:
  // A work request and the pieces of memory that it sends.
  struct Request {
    ibv_send_wr work{};
    std::array<ibv_sge, 2> pieces{};

    void add(const ibv_sge& piece) {
      work.sg_list = pieces.data();
      pieces[static_cast<size_t>(work.num_sge++)] = piece;
    }
  };

  QueuePair(VerbsDevice& device, const VerbsRailOptions& options, uint32_t endpoint, uint8_t index);
  Status create_handle();
  ReceiveSlots receives() const;
  // Whether the NIC takes a put's bytes at once, from where the host has them.
  bool is_inline(const Put& put, size_t bytes) const;
  ibv_sge source_of(const Put& put, bool copied) const;
  void describe_data(const Put& put, Request& request) const;
  // `sequence`: that it will have. `carried`: the put whose bytes follow; null: none.
  void describe_message(const Message& message, const Put* carried, uint32_t sequence,
                        Request& request);
  // The bytes of a put, its message, or both; `work` is the last of them.
  Status post(Request* data, Request* message, const Work& work);
  uint64_t work_id(bool receive, uint32_t sequence) const;

  VerbsDevice& device_;
  const VerbsRailOptions& options_;
  const uint32_t endpoint_;
  const uint8_t index_;
  const uint32_t receive_slots_;
  SendWindow sends_;
  Credits credits_;
  uint32_t puts_in_flight_ = 0;
  uint32_t receives_posted_ = 0;
  uint32_t returned_ = 0;       // receive slots given back since the start
  uint32_t returned_told_ = 0;  // of those, what the peer was told
  uint32_t inline_bytes_ = 0;
  Slots<Incoming> incoming_;
  Slots<Message> outgoing_;  // one per work request of the send window
  CompletionQueue* completions_ = nullptr;
  QueuePairHandle handle_;
  std::shared_ptr<Starting> starting_;
  uint32_t number_ = 0;
  std::future<void> destroyed_;
};

}  // namespace railccl::verbs
