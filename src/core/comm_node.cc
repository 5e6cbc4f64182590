// Communicator: what the ranks of its node still do when it ends (see communicator.h).
#include <chrono>
#include <thread>
#include <vector>

#include "src/base/fast_clock.h"
#include "src/base/log.h"
#include "src/core/communicator.h"

namespace railccl {
namespace {

constexpr std::chrono::microseconds kNodePause{50};

}  // namespace

// A rank of this node has ended the communicator: it will give buffers back.
bool Communicator::must_keep_out() {
  if (local_ == nullptr || local_->aborted() == 0) return false;
  local_->withdraw();
  return true;
}

// Other ranks of the node may not have seen yet that the communicator is over, and copy out of the
// buffers of this rank's operation or into them.
void Communicator::await_node() {
  if (local_ == nullptr) return;
  local_->withdraw();
  const TimeNs deadline = fast_now_ns() + kCloseAfterError;
  while (!node_is_out(fast_now_ns(), deadline)) std::this_thread::sleep_for(kNodePause);
}

// True: none of them does any more, or it is time to go without knowing.
bool Communicator::node_is_out(TimeNs now, TimeNs deadline) {
  if (local_ == nullptr) return true;
  const std::vector<int> inside = local_->others_inside();
  if (inside.empty()) return true;
  if (now < deadline) return false;
  const auto node = static_cast<size_t>(layout_->node_of[static_cast<size_t>(rank_)]);
  RAILCCL_WARN(Subsys::kColl,
               "communicator {}: rank {} of this node has not moved for {} ms since the "
               "communicator ended: should it go on, it may still write to buffers of rank {}'s "
               "last operation",
               parts_.name, layout_->ranks_of[node][static_cast<size_t>(inside.front())],
               kCloseAfterError / kMillisecond, rank_);
  return true;
}

Status Communicator::node_aborted() {
  return railccl::error(Code::kAborted,
                        "another rank of this node has ended the communicator and did not say why");
}

// The flag of the node is up before the reason is here, which comes over the control path. Should
// it never come, the flag is enough.
Status Communicator::check_node(TimeNs now) {
  if (local_ == nullptr || local_->aborted() == 0) return Status::ok();
  if (node_abort_seen_ == 0) node_abort_seen_ = now;
  return now - node_abort_seen_ < kReasonTimeout ? Status::ok() : node_aborted();
}

}  // namespace railccl
