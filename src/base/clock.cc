#include "src/base/clock.h"

#include <ctime>

namespace railccl {
namespace {

class SystemClock final : public Clock {
 public:
  TimeNs now_ns() const override {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<TimeNs>(time.tv_sec) * kSecond + static_cast<TimeNs>(time.tv_nsec);
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock* const clock = new SystemClock;
  return *clock;
}

}  // namespace railccl
