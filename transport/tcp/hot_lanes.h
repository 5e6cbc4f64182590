// The sockets on which something came lately. Reading one costs no more than asking the poller
// whether it can be read, so these are read without asking: what comes next on them is here one
// system call sooner. Owned by the rail; its thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace railccl::tcp {

class TcpLane;

class HotLanes {
 public:
  // The poller has found something on it.
  void heat(TcpLane& lane);
  // It is being closed.
  void forget(const TcpLane& lane);
  bool empty() const { return lanes_.empty(); }
  // Reads them, small puts first; true when something had come. Those on which nothing has come for
  // long are left to the poller again.
  bool read();

 private:
  struct Hot {
    TcpLane* lane = nullptr;  // null: closed during read()
    uint32_t misses = 0;      // reads since something came
  };
  static constexpr size_t kMost = 4;
  static constexpr uint32_t kPatience = 64;

  std::vector<Hot> lanes_;
};

}  // namespace railccl::tcp
