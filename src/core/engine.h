// The progress engine: owns this process's rails and moves everything forward. One per process,
// shared by all communicators. Whoever waits for an operation drives it himself, for latency; the
// engine's own thread drives what nobody waits for, and keeps watch (peers that die, rails that
// change) while the callers compute.
//
// Threading: rails, links and clients are touched under the driver lock only. At most one driver at
// a time; a driver that finds nothing to do releases the lock before it sleeps on the descriptors.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "src/base/mutex.h"
#include "src/base/status.h"
#include "src/base/unique_fd.h"
#include "src/core/completion.h"
#include "src/core/rail_host.h"
#include "src/core/send_hold.h"
#include "src/core/wait_habit.h"
#include "src/core/waiting_policy.h"
#include "transport/link.h"
#include "transport/rail.h"

namespace railccl {

// A communicator as the engine sees it. All calls under the driver lock.
class EngineClient {
 public:
  virtual ~EngineClient() = default;
  virtual bool progress(TimeNs now) = 0;  // true when it did anything
  virtual bool has_work() const = 0;      // operations that somebody has to drive
  // What it waits for may come without a rail's event: through memory, say.
  virtual bool polls() const { return false; }
  virtual TimeNs next_deadline() const = 0;
  virtual void prepare_sleep() = 0;  // arm doorbells that write to descriptors
  virtual void finish_sleep(TimeNs now, SleepEnd end) = 0;
  // The process is about to end. True: others need nothing more of this client, else it is asked
  // again after progress.
  virtual bool depart() { return true; }
};

struct EngineOptions {
  TimeNs spin_ns = 50 * kMicrosecond;  // how long a driver polls before it sleeps
};

class Engine final : public RailHost, private EventSink {
 public:
  static Result<std::shared_ptr<Engine>> create(std::vector<std::unique_ptr<Rail>> rails,
                                                const EngineOptions& options);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  std::span<Rail* const> rails() const override { return rail_pointers_; }

  // Taken by DriverLock.
  Mutex& driver() RAILCCL_RETURN_CAPABILITY(driver_) { return driver_; }

  uint64_t add_endpoint_sink(EndpointEventSink* sink) override RAILCCL_REQUIRES(driver_);
  void remove_endpoint_sink(uint64_t tag_base) override RAILCCL_REQUIRES(driver_);
  void add_client(EngineClient* client) RAILCCL_REQUIRES(driver_);
  void remove_client(EngineClient* client) RAILCCL_REQUIRES(driver_);
  void watch(int fd);
  void unwatch(int fd);

  // Waits for `completion` until the deadline, driving meanwhile. `spin_ns` 0: sleep at once when
  // idle.
  void wait(Completion& completion, TimeNs spin_ns, TimeNs deadline = kNever);
  // Drives until `done()` answers true or the deadline passed (false). For shutdown and start.
  bool drive_until(const std::function<bool()>& done, TimeNs deadline);
  // The process is about to end: drives until nobody outside needs this engine any more, half of
  // the time at most for operations under way. Bounded also for a thread that was interrupted while
  // it had the driver lock.
  void depart(TimeNs patience);
  // One round, if nobody else drives.
  void drive_briefly();
  // A client has new work; for the driver's next round.
  void stir() { stirred_.store(true); }
  // The same, and nobody waits for it: makes sure that someone drives it.
  void kick();
  // The same for what a caller has begun, who may be about to wait for it; then he drives it.
  void kick_for_caller();
  // A completion was set by this driver: its caller may be the one that sleeps on the descriptors.
  void wake_sleeper();

 private:
  Engine(std::vector<std::unique_ptr<Rail>> rails, const EngineOptions& options);
  void run();
  // True when anything happened. `own`: what the driver waits for.
  bool drive_once(const Completion* own = nullptr) RAILCCL_REQUIRES(driver_);
  // A driver that spins asks the rails, and the clients only now and then or when there is a
  // reason.
  bool clients_are_due() RAILCCL_REQUIRES(driver_);
  bool progress_clients() RAILCCL_REQUIRES(driver_);
  bool progress_rails() RAILCCL_REQUIRES(driver_);
  // For a caller whose operation is not complete, or is.
  bool progress_for_waiter() RAILCCL_REQUIRES(driver_);
  bool leave_rails() RAILCCL_REQUIRES(driver_);
  // `hold`: but for rails on which puts may wait to leave together.
  bool flush_rails(bool hold) RAILCCL_REQUIRES(driver_);
  void note_held(bool holds) RAILCCL_REQUIRES(driver_);
  // Drives until `stop()` holds; spins for spin_ns or what was learnt, 0 for not at all, without
  // progress, then sleeps for at most `limit`.
  void drive(TimeNs spin_ns, TimeNs limit, const std::function<bool()>& stop,
             Completion* own = nullptr) RAILCCL_REQUIRES(driver_);
  bool has_work() const RAILCCL_REQUIRES(driver_);
  // Releases the lock meanwhile. One sleeper at a time waits on the descriptors; another one waits
  // on `own`.
  void sleep(TimeNs limit, Completion* own) RAILCCL_REQUIRES(driver_);
  SleepEnd sleep_on_descriptors(TimeNs timeout);
  void make_room() RAILCCL_REQUIRES(driver_);
  void yield_core() RAILCCL_REQUIRES(driver_);
  void lock() RAILCCL_ACQUIRE(driver_);
  bool lock_until(TimeNs deadline) RAILCCL_TRY_ACQUIRE(true, driver_);
  void arm() RAILCCL_REQUIRES(driver_);
  void disarm() RAILCCL_REQUIRES(driver_);
  void wake_thread();
  // The thread looks after what is held and what nobody drives, and leaves the driving to the
  // callers.
  void stand_by();
  void park(std::chrono::nanoseconds pause);
  void watch_callers();
  enum class Held : uint8_t { kNothing, kForCaller, kSent };
  Held look_after_held(TimeNs now);
  void leave_standby();
  void on_event(const RailEvent& event) override RAILCCL_REQUIRES(driver_);

  friend class DriverLock;

  static constexpr unsigned kTagBits = 8;  // pairs of one link
  static constexpr TimeNs kNothingHeld = 0;

  EngineOptions options_;
  std::vector<std::unique_ptr<Rail>> rails_;
  std::vector<Rail*> rail_pointers_;
  // Sleeping drivers do not hold it; a busy one makes room.
  Mutex driver_;
  SpinBudget budget_ RAILCCL_GUARDED_BY(driver_);
  YieldDelay yield_delay_ RAILCCL_GUARDED_BY(driver_);
  std::vector<EndpointEventSink*> sinks_ RAILCCL_GUARDED_BY(driver_);  // by tag >> kTagBits
  std::vector<EngineClient*> clients_ RAILCCL_GUARDED_BY(driver_);
  int current_rail_ RAILCCL_GUARDED_BY(driver_) = 0;        // whose progress is running
  TimeNs now_ RAILCCL_GUARDED_BY(driver_) = 0;              // of the current round
  TimeNs rails_looked_at_ RAILCCL_GUARDED_BY(driver_) = 0;  // until then
  SendHold hold_ RAILCCL_GUARDED_BY(driver_);
  std::atomic<TimeNs> held_since_{kNothingHeld};           // written by drivers
  WaitHabit habit_;                                        // of those who begin on streams
  bool clients_rest_ RAILCCL_GUARDED_BY(driver_) = false;  // nothing to do but what the rails bring
  TimeNs clients_rest_until_ RAILCCL_GUARDED_BY(driver_) = 0;
  bool armed_ RAILCCL_GUARDED_BY(driver_) = false;  // clients' doorbells write to descriptors
  SleepEnd sleep_end_ RAILCCL_GUARDED_BY(driver_) = SleepEnd::kNotSlept;  // of finish_sleep()
  UniqueFd epoll_;
  // The set above and the rails' descriptors, which are not in it: the kernel would tell the set of
  // every packet that comes while a driver polls.
  std::vector<pollfd> slept_on_;
  UniqueFd wake_;
  std::atomic<bool> sleeper_{false};        // somebody sleeps on the descriptors, or is about to
  std::atomic<bool> thread_sleeps_{false};  // and it is the engine's own thread
  std::atomic<int> waiting_callers_{0};
  std::atomic<int> lock_wanted_{0};
  std::atomic<bool> stirred_{false};
  std::atomic<bool> stop_{false};
  std::atomic<bool> standby_{false};  // see stand_by()
  Mutex park_mutex_;                  // the thread's pause while callers drive; guards no data
  std::condition_variable_any park_;
  std::thread thread_;
};

// The driver lock for a scope.
class RAILCCL_SCOPED_CAPABILITY DriverLock {
 public:
  explicit DriverLock(Engine& engine) RAILCCL_ACQUIRE(engine.driver()) : engine_(engine) {
    engine_.lock();
  }
  ~DriverLock() RAILCCL_RELEASE() { engine_.driver().unlock(); }
  DriverLock(const DriverLock&) = delete;
  DriverLock& operator=(const DriverLock&) = delete;

 private:
  Engine& engine_;
};

}  // namespace railccl
