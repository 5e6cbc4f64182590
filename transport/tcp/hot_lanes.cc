#include "transport/tcp/hot_lanes.h"

#include <algorithm>

#include "transport/tcp/tcp_lane.h"

namespace railccl::tcp {

void HotLanes::heat(TcpLane& lane) {
  if (std::ranges::find(lanes_, &lane, &Hot::lane) != lanes_.end()) return;
  if (lanes_.size() == kMost) lanes_.erase(std::ranges::max_element(lanes_, {}, &Hot::misses));
  lanes_.insert(lane.is_bulk() ? lanes_.end() : lanes_.begin(), Hot{.lane = &lane});
}

void HotLanes::forget(const TcpLane& lane) {
  for (Hot& hot : lanes_) {
    if (hot.lane == &lane) hot.lane = nullptr;
  }
}

bool HotLanes::read() {
  bool any = false;
  for (Hot& hot : lanes_) {
    if (hot.lane == nullptr) continue;
    // What it brings may close lanes, this one too, but heats none.
    const bool came = hot.lane->try_receive();
    hot.misses = came ? 0 : hot.misses + 1;
    any = any || came;
  }
  std::erase_if(lanes_,
                [](const Hot& hot) { return hot.lane == nullptr || hot.misses >= kPatience; });
  return any;
}

}  // namespace railccl::tcp
