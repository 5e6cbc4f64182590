// Sees every put, every event and every write of a simulated run and holds them against the
// protocol's invariants (docs/failover.md):
//  - no byte lands over an endpoint whose owner was told that its fence is complete;
//  - a chunk or message is posted again only when both ends of the endpoint that carried it are
//    fenced;
//  - nothing lands in a buffer that its user has back;
//  - every accepted put completes once, and before the fence is complete.
// It also counts what each link has posted, for the rule that each byte counts once.
// WatchRail is the decorator through which a rank's links see their rail. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tests/simulate/fault.h"
#include "tests/simulate/judge.h"
#include "transport/rail.h"
#include "transport/sim/sim_network.h"
#include "transport/wire.h"

namespace railccl::simulate {

// No rail of a workload is faster to deliver anything.
constexpr TimeNs kLeastLatency = 2 * kMicrosecond;

class Watch final : public SimObserver {
 public:
  explicit Watch(Judge& judge) : judge_(judge) {}
  void set_network(const SimNetwork& network) { network_ = &network; }
  void set_wake(std::function<void(int rail)> wake) { wake_ = std::move(wake); }

  // --- Buffers of users. Nothing may land in a closed one.
  void add_buffer(const std::byte* address, size_t bytes, int rank);
  void open_buffer(const std::byte* address, bool open);

  // --- From the rails. `number`: of the endpoint; `link`: of the rank and its peer.
  void on_opened(uint64_t number);
  void on_connect(uint64_t number, uint64_t peer);
  void on_put(uint64_t number, uint64_t link, const Put& put);
  void on_put_done(uint64_t number);
  void on_fence_begun(uint64_t number);
  void on_fenced(uint64_t number);

  void on_landing(const SimLanding& landing) override;
  void on_raised(int rail) override { wake_(rail); }

  // Payload of puts that the link has posted, each byte once.
  uint64_t bytes_posted(uint64_t link) const;
  uint64_t posted_again() const { return posted_again_; }
  // What is going on, for faults that wait for it.
  void set_on_phase(std::function<void(Fault::Phase)> on_phase) { on_phase_ = std::move(on_phase); }
  bool fencing() const { return fences_ > 0; }
  bool replaying() const { return posted_again_ > 0 && now() <= posted_again_at_ + kLeastLatency; }

 private:
  struct End {
    uint64_t peer = 0;
    uint64_t outstanding = 0;
    bool fencing = false;
    bool fenced = false;
  };
  struct Buffer {
    size_t bytes = 0;
    int rank = 0;
    bool open = false;
  };
  // Bytes of a put, or a message, and the endpoint that carried them last.
  struct Part {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t carrier = 0;
  };
  struct ItemHash {
    size_t operator()(const std::array<uint64_t, 2>& key) const {
      return key[0] * 0x9e3779b97f4a7c15ull ^ key[1];
    }
  };

  TimeNs now() const { return network_->now(); }
  bool fenced(uint64_t number) const;
  uint64_t carry(std::vector<Part>& parts, const Part& carried, const wire::NoteHeader& header);
  void check_fenced(const Part& old, const wire::NoteHeader& header);

  Judge& judge_;
  const SimNetwork* network_ = nullptr;
  std::function<void(int rail)> wake_;
  std::unordered_map<uint64_t, End> ends_;
  std::map<const std::byte*, Buffer> buffers_;
  // Without overlaps; by link and note.
  std::unordered_map<std::array<uint64_t, 2>, std::vector<Part>, ItemHash> parts_;
  std::unordered_map<uint64_t, uint64_t> bytes_posted_;  // by link
  uint64_t posted_again_ = 0;
  TimeNs posted_again_at_ = 0;
  int fences_ = 0;  // that have begun and not ended
  std::function<void(Fault::Phase)> on_phase_;
};

// `link_base` makes the numbers of this rank's links unique: link = link_base + tag of its first
// endpoint.
std::unique_ptr<Rail> watch_rail(std::unique_ptr<Rail> inner, Watch& watch, uint64_t link_base);

// The number of a simulated endpoint, from its address.
uint64_t endpoint_number(const std::vector<std::byte>& address);

}  // namespace railccl::simulate
