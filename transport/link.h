// A link is the multi-rail connection between this rank and one peer: the same put as an
// endpoint's, over all rails that the two share, with striping by measured rate, a record of what
// arrived at the receiver, acknowledgement of whole puts, and failover (docs/failover.md). It also
// carries small messages in order.
//
// Threading: owned by the thread that drives its rails. Time comes in; nothing here sleeps or reads
// clocks.
//
// Guarantees:
//  - on_put_done comes exactly once for every accepted put: with success when the peer has
//  acknowledged
//    that the whole of it is visible (the source may be overwritten from then on), or with the
//    error that ended the link.
//  - on_notification comes exactly once for every put of the peer, when all its bytes are visible.
//  - messages arrive exactly once and in order. A put's notification and messages are not ordered.
//  - after on_failed nothing else is reported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/trace_record.h"
#include "transport/rail.h"
#include "transport/rail_health.h"
#include "transport/striping.h"

namespace railccl {

// A local buffer registered on every rail that may carry it: index = local rail index; an entry may
// be null when that rail could not register (the link then does not use it for this buffer).
struct RegisteredBuffer {
  MemoryRegion region;
  std::vector<std::unique_ptr<Registration>> on_rail;
};

// What a peer needs to put into a RegisteredBuffer: keys by the owner's rail index; 0: not on that
// rail.
struct RemoteBuffer {
  std::vector<uint64_t> rail_keys;
  uint64_t bytes = 0;
};
RemoteBuffer describe(const RegisteredBuffer& buffer);

struct LinkPut {
  uint64_t token = 0;
  const RegisteredBuffer* source = nullptr;  // may be null when bytes == 0
  uint64_t source_offset = 0;
  uint64_t bytes = 0;
  const RemoteBuffer* target = nullptr;  // copied; may be null when bytes == 0
  uint64_t target_offset = 0;
  uint64_t tag = 0;  // the peer's on_notification
};

struct LinkRailStats {
  RailState state = RailState::kDown;
  uint64_t bytes_sent = 0;  // payload delivered to the peer, replays not counted twice
  uint64_t bytes_received = 0;
  uint64_t message_bytes_sent = 0;  // in messages, which the two above do not count
  uint64_t message_bytes_received = 0;
  uint64_t chunks_sent = 0;
  double bytes_per_second = 0;  // measured: delivered over busy time
  double latency_us = 0;        // measured, smoothed
  uint32_t failures = 0;
  uint32_t recoveries = 0;
  uint64_t replayed_bytes = 0;
  uint32_t damaged = 0;     // chunks and messages that came with a wrong checksum
  TimeNs stall_ns_max = 0;  // longest time without delivery while something was in flight
  bool slow = false;        // demoted: far slower than its siblings
  bool standby = false;     // up, and a pair of a lower tier carries what there is
  uint32_t demotions = 0;   // how often it was
  uint32_t promotions = 0;  // and how often that has ended
  std::string last_error;
};

class LinkSink {
 public:
  virtual ~LinkSink() = default;
  // At least one rail is up, of the lowest tier unless that did not connect in time.
  virtual void on_connected(int peer) = 0;
  virtual void on_put_done(int peer, uint64_t token, const Status& status) = 0;
  virtual void on_notification(int peer, uint64_t tag) = 0;
  // `message` is valid during the call.
  virtual void on_message(int peer, std::span<const std::byte> message) = 0;
  virtual void on_failed(int peer, const Status& status) = 0;
  // Bytes for the same link object at the peer, over the bootstrap connection: reliable, in order,
  // slow.
  virtual void send_on_control_path(int peer, std::span<const std::byte> bytes) = 0;
};

struct LinkOptions {
  std::string owner = "link";  // for messages, as are the ranks
  int self = 0;
  int peer = 0;
  TraceSource trace_source = 0;
  Striping striping = Striping::kMeasured;
  uint64_t chunk_bytes = 0;          // 0: chosen by rate
  uint64_t small_put_bytes = 65536;  // below: one rail
  uint32_t message_ring_bytes = 262144;
  // Chunks and messages from host memory carry a CRC32C; the receiver of one that is damaged takes
  // it for a failure of its rail, so that it is sent again over another one.
  bool check = false;
  TimeNs rail_timeout_ns = 2 * kSecond;        // suspect -> down without a sign of life
  TimeNs link_timeout_ns = 30 * kSecond;       // no rail left
  TimeNs probe_pause_ns = 100 * kMillisecond;  // before a rail that is down is tried again; doubles
  TimeNs probe_pause_max_ns = 5 * kSecond;
  // How a rail's rate is learnt: RateMeterOptions; and for how long, and over how many bytes, it
  // has to be far below its fastest sibling's before the rail is called slow.
  TimeNs rate_window_ns = 10 * kMillisecond;
  TimeNs rate_memory_ns = 200 * kMillisecond;
  TimeNs slow_after_ns = 200 * kMillisecond;
  uint64_t slow_after_bytes = 1 << 20;
  // A rail that carried nothing for so long, while others carried so much, is measured again.
  TimeNs sample_every_ns = 100 * kMillisecond;
  uint64_t sample_every_bytes = uint64_t{8} << 20;
  // Which local rail talks to which rail of the peer; each pair is one endpoint, index = position
  // here.
  // Of the pairs that are up those of the lowest tier carry everything; the others stand by: they
  // are probed while the link is in use, and carry what is left when no pair of a lower tier is up.
  struct Pair {
    int local_rail = 0;
    int peer_rail = 0;
    int tier = 0;
  };
  std::vector<Pair> pairs;
};

constexpr size_t kMaxMessageBytes = 32 * 1024 + 64;

class Link {
 public:
  // `rails` by local rail index; they, and the sink, outlive the link. Endpoint tags given to rails
  // are `endpoint_tag_base + pair index`, so the owner can route RailEvents to the link.
  static Result<std::unique_ptr<Link>> create(const LinkOptions& options,
                                              std::span<Rail* const> rails,
                                              uint64_t endpoint_tag_base, LinkSink& sink);
  virtual ~Link() = default;

  // What the peer's link needs for connect(): endpoint addresses and the key of the message ring.
  virtual std::vector<std::byte> address() const = 0;
  virtual Status connect(std::span<const std::byte> peer_address, TimeNs now) = 0;
  virtual bool connected() const = 0;

  // Accepted puts queue inside the link (bounded by memory of the records only); never
  // back-pressure.
  virtual Status put(const LinkPut& put, TimeNs now) = 0;
  // header and body together are one message of at most kMaxMessageBytes; copied. kBackPressure:
  // the peer has not consumed enough; try again after progress.
  virtual Status send(std::span<const std::byte> header, std::span<const std::byte> body,
                      TimeNs now) = 0;

  // From the owner of the rails: an event of one of this link's endpoints (pair index), or of a
  // local rail.
  virtual void on_rail_event(int pair, const RailEvent& event, TimeNs now) = 0;
  virtual void on_port_event(int local_rail, const RailEvent& event, TimeNs now) = 0;
  // The user's switch: off takes the local rail out of use as a failure would, without loss (the
  // peer is told why), and it is not tried again until it is switched on. A pair is in use when
  // both sides have it on. Any time after create().
  virtual void set_rail(int local_rail, bool on, TimeNs now) = 0;
  // What the peer gave to send_on_control_path. Bad bytes are refused with an error, never
  // believed.
  virtual Status on_control_path(std::span<const std::byte> bytes, TimeNs now) = 0;
  // Posts queued work, sends acknowledgements, checks deadlines; true when it did anything.
  virtual bool progress(TimeNs now) = 0;
  // When progress must be called next even without an event; kNever: no deadline.
  virtual TimeNs next_deadline() const = 0;

  // The peer has all that was put and sent, or the link has ended.
  virtual bool idle() const = 0;
  // Ends all endpoints; outstanding puts are reported with `reason`. closed() turns true after the
  // rails have progressed enough; then the link may be destroyed.
  virtual void close(const Status& reason, TimeNs now) = 0;
  virtual bool closed() const = 0;

  virtual std::vector<LinkRailStats> stats() const = 0;  // by pair
};

}  // namespace railccl
