// What has arrived from one peer and was not taken yet: notifications, ready messages, small data.
// Bounded by what a peer may have under way: its credit of small data, and one operation's worth of
// notifications.
//
// Threading: the driver of the communicator.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "src/core/message.h"

namespace railccl {

class Inbox {
 public:
  struct Ready {
    uint32_t sequence = 0;
    Fingerprint fingerprint;
    RemoteBuffer target;
    uint64_t offset = 0;  // of the buffer within the target's registration
  };
  struct Data {
    MessageHeader header;
    std::vector<std::byte> body;
  };

  void add_notification(uint64_t tag) { notifications_.push_back(tag); }
  // True when it was there; it is gone then.
  bool take_notification(uint64_t tag) {
    const auto found = std::find(notifications_.begin(), notifications_.end(), tag);
    if (found == notifications_.end()) return false;
    *found = notifications_.back();
    notifications_.pop_back();
    return true;
  }

  std::deque<Ready>& ready() { return ready_; }
  std::deque<Ready>& p2p_ready() { return p2p_ready_; }
  std::deque<Data>& data() { return data_; }
  std::deque<Data>& p2p_data() { return p2p_data_; }

 private:
  std::vector<uint64_t> notifications_;
  std::deque<Ready> ready_;
  std::deque<Ready> p2p_ready_;
  std::deque<Data> data_;
  std::deque<Data> p2p_data_;
};

}  // namespace railccl
