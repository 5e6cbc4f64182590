// What the samples of a slow rail say: whether it is fast again. A shallow queue or a token bucket
// passes a burst at full speed after each pause, so that a small sample of a slow rail looks fast;
// each sample that does is therefore followed by one of twice the size, and only so much data in a
// row convinces. Pure; the link feeds it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace railccl {

class SlowSamples {
 public:
  // Bytes in a row that convince.
  explicit SlowSamples(uint64_t convincing_bytes) : convincing_bytes_(convincing_bytes) {}

  // True: the rail is fast again.
  bool add(uint64_t bytes, bool fast) {
    fast_bytes_ = fast ? fast_bytes_ + bytes : 0;
    least_bytes_ = fast ? std::min(2 * bytes, convincing_bytes_) : 0;
    return fast_bytes_ >= convincing_bytes_;
  }
  // Of the next sample; 0: any size.
  uint64_t least_bytes() const { return least_bytes_; }

 private:
  uint64_t convincing_bytes_;
  uint64_t fast_bytes_ = 0;
  uint64_t least_bytes_ = 0;
};

}  // namespace railccl
