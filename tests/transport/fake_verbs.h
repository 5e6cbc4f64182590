// A libibverbs of a test: devices, ports and GIDs as the test says, errors where it wants them, and
// asynchronous events when it raises them. Nothing is sent unless it delivers; what was posted and
// not sent completes when its queue pair goes to the error state. One at a time, since the
// library's functions are plain functions.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/verbs/gid_selection.h"
#include "transport/verbs/verbs_api.h"

namespace railccl::testing_support {

struct FakePort {
  ibv_port_state state = IBV_PORT_ACTIVE;
  std::vector<verbs::GidEntry> gids;
};

struct FakeDevice {
  explicit FakeDevice(const std::string& name);
  ibv_device device{};
  std::vector<FakePort> ports;
  int open_errno = 0;  // what opening it fails with; 0: it opens
};

struct FakeMemory {
  std::byte* address = nullptr;
  uint64_t iova = 0;

  std::byte* at(uint64_t where) const { return address + (where - iova); }
};

class FakeVerbs {
 public:
  FakeVerbs();
  ~FakeVerbs();
  FakeVerbs(const FakeVerbs&) = delete;
  FakeVerbs& operator=(const FakeVerbs&) = delete;

  const verbs::VerbsApi& api() const { return api_; }
  // With one port that is up and has the GID of this IPv4 address, for both versions of RoCE.
  FakeDevice& add_device(const std::string& name, const std::string& ipv4);
  // Of every opened context of the device.
  void raise(const FakeDevice& device, ibv_event_type type, int port = 1);

  // Something is in the completion queue of every opened context of the device.
  void complete(const FakeDevice& device);
  // The event of it alone.
  void ring(const FakeDevice& device);

  int register_errno = 0;          // of every registration from now on
  int ready_to_receive_errno = 0;  // of every connecting queue pair from now on
  int events_asked_for = 0;        // how often a completion queue was asked for one
  int events_taken = 0;
  bool flushes = true;  // queue pairs in the error state
  // What is posted arrives at once, at the queue pair with the number that this one was told.
  bool delivers = false;
  // A queue pair that goes to where it receives has received nothing in its first slot.
  bool receives_early = false;
  // Called by whoever takes a queue pair to where it receives, before that.
  std::function<void()> on_ready_to_receive = [] {};
  // Called by whoever destroys a queue pair, before that.
  std::function<void()> on_destroy_queue_pair = [] {};
  std::atomic<int> objects = 0;  // that libibverbs has handed out and not got back

 private:
  friend struct FakeFunctions;
  verbs::VerbsApi api_;
  std::vector<std::unique_ptr<FakeDevice>> devices_;
  std::vector<ibv_context*> contexts_;
  std::mutex mutex_;                           // of what follows
  uint32_t last_number_ = 0;                   // of queue pairs, and keys
  std::map<uint32_t, ibv_qp*> queue_pairs_;    // by number
  std::map<uint32_t, FakeMemory> registered_;  // by key
};

std::vector<verbs::GidEntry> gids_of(const std::string& ipv4);

}  // namespace railccl::testing_support
