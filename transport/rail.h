// The contract between RailCCL and a transport. A Rail is one local NIC port; an Endpoint is one
// rail's connection to one peer. Eight methods, and a descriptor to sleep on with its preparation;
// what a backend can do is data (RailInfo).
//
// Threading: one thread at a time owns a rail and all its endpoints (a progress engine's driver);
// calls are never concurrent. A rail neither sleeps nor starts threads, except for calls that the
// system may take long over (transport/slow_calls.h); `now` comes from outside.
//
// The contract, each line of it a test in tests/transport/conformance:
//  1. Every accepted put completes exactly once (kPutDone), with success or an error, also after
//  close
//     or a failure.
//  2. Events come only from progress() and flush(), never from inside put(), connect() or close().
//  3. A notification is seen only after all bytes of its own put are visible at the target, or,
//     of memory registered by_view, where the event shows them.
//  4. Puts are otherwise unordered, on one endpoint and between endpoints.
//  5. Back-pressure is not an error: put() answers kBackPressure, accepts nothing, and the same put
//  is
//     accepted after progress.
//  6. A zero-byte put with a notification is legal.
//  7. A put outside what the peer registered (unknown key, range beyond it, registration gone) is
//     refused by the target: it writes nothing, raises nothing, and closes the endpoint with an
//     error on both sides (kFailed). A small one may have completed with success before (line 9).
//  8. close() is the fence: after its kClosed event nothing of this endpoint lands in local memory,
//     nothing of it is sent any more, and every accepted put has completed. kClosed comes exactly
//     once, also when the endpoint had failed, and in bounded time whatever the peer does.
//  9. A local completion with success means that the target's transport has placed or shown the
//     data (or, for RDMA, that its NIC acknowledged it). It is a measure for rates and a hint for
//     delivery, no more.
// 10. Destroying a Registration ends the peers' right to write there; it must outlive the local
//     puts that read from it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"

namespace railccl {

enum class TransportKind : uint8_t { kTcp, kVerbs, kUcx, kSim };
std::string_view transport_name(TransportKind kind);

enum class MemoryKind : uint8_t { kHost = 1, kCuda = 2, kDmabuf = 4 };

struct MemoryRegion {
  MemoryKind kind = MemoryKind::kHost;
  std::byte* address = nullptr;  // host or device pointer
  size_t bytes = 0;
  int dmabuf_fd = -1;  // kDmabuf only
  uint64_t dmabuf_offset = 0;
  // A notified put's bytes may be shown where they came instead of being placed here, for an owner
  // that uses them at once or copies them itself (RailEvent::data).
  bool by_view = false;
  // For a rail that holds events, which a view does not outlive.
  MemoryRegion always_placed() const {
    MemoryRegion region = *this;
    region.by_view = false;
    return region;
  }
};

// Of one process: a process opens no more, and its peers expect no more.
constexpr size_t kMaxRails = 32;

struct RailInfo {
  std::string name;  // "eth0", "mlx5_0:1": unique in the process
  TransportKind transport = TransportKind::kTcp;
  uint64_t bytes_per_second = 0;  // speed of the port; 0: unknown
  TimeNs latency_ns = 0;          // one way, a first guess; 0: unknown
  TimeNs put_ns = 0;              // of the processor, for a put and its end, likewise
  int numa_node = -1;
  std::string pci_address;                // "0000:41:00.0"; empty: none
  std::string adapter;                    // rails with the same non-empty adapter share its limit
  uint64_t adapter_bytes_per_second = 0;  // that limit; 0: unknown
  std::string address;                    // printable: "10.0.0.1", a GID
  uint32_t memory_kinds = 0;              // bits of MemoryKind
  size_t max_put_bytes = 0;
  // What was put leaves with the next flush() or progress() only; several puts together cost little
  // more than one.
  bool collects_puts = false;
};

// Memory that peers may put into by its key, and that local puts may read from, on one rail.
class Registration {
 public:
  virtual ~Registration() = default;
  const MemoryRegion& region() const { return region_; }
  uint64_t key() const { return key_; }  // what a peer needs; never 0, not guessable on TCP

 protected:
  Registration(const MemoryRegion& region, uint64_t key) : region_(region), key_(key) {}

 private:
  MemoryRegion region_;
  uint64_t key_;
};

// 32 bytes that travel with a put and mean nothing to the transport.
using Notification = std::array<uint64_t, 4>;

struct Put {
  uint64_t token = 0;                    // returned by kPutDone
  const Registration* source = nullptr;  // of the same rail; may be null when bytes == 0
  uint64_t source_offset = 0;
  size_t bytes = 0;
  uint64_t remote_key = 0;  // ignored when bytes == 0
  uint64_t remote_offset = 0;
  bool notify = true;
  Notification notification{};
};

struct RailEvent {
  enum class Kind : uint8_t {
    kConnected,     // puts are accepted from now on
    kPutDone,       // token, status
    kNotification,  // notification, bytes of its put
    kFailed,        // status; the endpoint accepts nothing more; call close()
    kClosed,        // the fence is complete; the endpoint may be destroyed
    kRailDown,      // the port itself: status; endpoint_tag is not set
    kRailUp,
  };
  Kind kind;
  uint64_t endpoint_tag = 0;  // as given to open_endpoint
  uint64_t token = 0;
  Status status;  // of kFailed: kPeerFailed when the peer closed it
  Notification notification{};
  size_t bytes = 0;
  // kNotification: where the bytes of its put are, until the owner of that memory uses it again;
  // null when there are none, or when the transport does not know or the host cannot read it. Of
  // memory registered by_view perhaps elsewhere, and there during on_event only.
  const std::byte* data = nullptr;
  // kPutDone: how long the target kept its acknowledgement back, so that it could travel with
  // something else; not a part of the way. kNever: not known.
  TimeNs held_back = 0;
};

class EventSink {
 public:
  virtual ~EventSink() = default;
  // May call put() and close() on any endpoint, but neither progress() nor a destructor of the
  // rail's objects.
  virtual void on_event(const RailEvent& event) = 0;
};

class Endpoint {
 public:
  // Destroying an endpoint that was not closed is allowed in shutdown only: it sends nothing and
  // receives nothing afterwards, and its outstanding puts raise no event.
  virtual ~Endpoint() = default;
  // Opaque bytes for the peer's connect(); at most kMaxAddressBytes; carries a secret, so it must
  // travel over an authenticated path.
  virtual std::vector<std::byte> address() const = 0;
  // Both sides call connect with the other's address, in any order; then kConnected or kFailed.
  virtual Status connect(const std::vector<std::byte>& peer_address) = 0;
  virtual Status put(const Put& put) = 0;
  virtual void close() = 0;
};
constexpr size_t kMaxAddressBytes = 256;

class Rail {
 public:
  virtual ~Rail() = default;  // after all endpoints and registrations
  virtual const RailInfo& info() const = 0;
  virtual Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) = 0;
  virtual Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t endpoint_tag) = 0;
  // Moves data and reports what happened since; true when it did anything. What comes where nothing
  // has come for long may be found some calls later, but by the first call after a sleep.
  virtual bool progress(TimeNs now, EventSink& sink) = 0;
  // Sends what was put and, where that saves time, looks for nothing else: for an owner that has
  // what it waited for and will call progress soon.
  virtual bool flush(TimeNs now, EventSink& sink) { return progress(now, sink); }
  // The owner is about to sleep on wake_fd(). It calls progress once more, and sleeps if that
  // returned false; an owner that polls on has no use for being woken, and no cost of it.
  virtual void prepare_sleep() = 0;
  // Readable (poll) whenever progress would do something that its owner cannot know of: after a put
  // and after a call that returned true, the owner prepares anew before it sleeps. -1 where time is
  // simulated.
  virtual int wake_fd() const = 0;
};

}  // namespace railccl
