// What it takes to connect a queue pair, apart from its owner: the system may take long over it
// (transport/slow_calls.h), and the owner may have given it up meanwhile.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "transport/verbs/verbs_device.h"
#include "transport/verbs/verbs_transport.h"

namespace railccl::verbs {

// What a queue pair needs of the other side to connect.
struct Remote {
  uint32_t number = 0;
  uint32_t first_packet = 0;
  uint32_t receive_slots = 0;
  GidBytes gid{};
  uint16_t lid = 0;
  ibv_mtu mtu = IBV_MTU_1024;
};

// Where this port stands.
struct Local {
  GidEntry gid;
  bool ethernet = true;
  uint16_t lid = 0;
  ibv_mtu mtu = IBV_MTU_1024;
  uint32_t first_packet = 0;
};

// Where receives go: `count` slots, one after the other.
struct ReceiveSlots {
  uint64_t first_address = 0;
  uint32_t bytes = 0;  // of each
  uint32_t local_key = 0;
  uint32_t count = 0;
  uint64_t first_work_id = 0;
};
Status post_receive(ibv_qp* pair, const ReceiveSlots& slots, uint32_t slot);

// A queue pair in any state with nothing posted. Device, options and queue pair must be there until
// it is done.
struct QueuePairStart {
  VerbsDevice* device = nullptr;
  const VerbsRailOptions* options = nullptr;
  ibv_qp* pair = nullptr;
  Local local;
  Remote remote;
  ReceiveSlots receives;
};

struct Started {
  Status status;
  uint32_t receives_posted = 0;
};

// Posts all receives and takes the queue pair to where it sends. Any thread.
Started start(const QueuePairStart& plan);

// Queue pairs that start one after the other, until one fails, on another thread.
class Starting {
 public:
  explicit Starting(std::vector<QueuePairStart> plans) : plans_(std::move(plans)) {}

  // One for each plan; those that were not begun have posted nothing.
  std::vector<Started> run();
  // True: nothing was begun, nor will be. False: it is under way, or done.
  bool cancel();
  // Nothing is under way when it returns, nor will be. Takes as long as the system does.
  void await_end();

 private:
  enum class State : uint8_t { kWaiting, kRunning, kDone, kCancelled };

  const std::vector<QueuePairStart> plans_;
  std::atomic<State> state_ = State::kWaiting;
};

}  // namespace railccl::verbs
