#include "src/core/engine.h"

#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace railccl {
namespace {

constexpr TimeNs kWatchInterval = 100 * kMillisecond;  // longest sleep of a driver
constexpr std::chrono::milliseconds kParkInterval{10};
constexpr TimeNs kSharedWait = 200 * kMicrosecond;  // sleep of a caller while another one drives
constexpr std::chrono::microseconds kSharedPause{200};  // the same for one without an operation

constexpr TimeNs kClientsRest = 5 * kMicrosecond;  // while a driver spins

// What is held for a caller who does not come again: then the engine's thread sends it.
constexpr TimeNs kHeldAtMost = 40 * kMicrosecond;
constexpr int kIdleLooks = 10;  // that found nothing held or begun, and it is over
constexpr unsigned long kTimerSlack = kMicrosecond;  // the kernel's own would double a pause

// To one who wants the lock; who was interrupted for good may want it for ever.
constexpr int kMostYields = 1000;

thread_local bool is_engine_thread = false;

}  // namespace

Result<std::shared_ptr<Engine>> Engine::create(std::vector<std::unique_ptr<Rail>> rails,
                                               const EngineOptions& options) {
  std::shared_ptr<Engine> engine(new Engine(std::move(rails), options));
  engine->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!engine->epoll_) return system_error(errno, "epoll_create1 for the progress engine");
  engine->wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!engine->wake_) return system_error(errno, "eventfd for the progress engine");
  engine->watch(engine->wake_.get());
  engine->slept_on_.push_back({.fd = engine->epoll_.get(), .events = POLLIN, .revents = 0});
  for (Rail* rail : engine->rail_pointers_) {
    engine->slept_on_.push_back({.fd = rail->wake_fd(), .events = POLLIN, .revents = 0});
  }
  engine->thread_ = std::thread([raw = engine.get()] { raw->run(); });
  return engine;
}

Engine::Engine(std::vector<std::unique_ptr<Rail>> rails, const EngineOptions& options)
    : options_(options), rails_(std::move(rails)), budget_(options.spin_ns) {
  for (const auto& rail : rails_) rail_pointers_.push_back(rail.get());
}

Engine::~Engine() {
  stop_.store(true);
  wake_thread();
  kick();
  if (thread_.joinable()) thread_.join();
}

// Counted, so that a driver who finds something to do in every round lets this one in.
void Engine::lock() {
  lock_wanted_.fetch_add(1);
  driver_.lock();
  lock_wanted_.fetch_sub(1);
}

bool Engine::lock_until(TimeNs deadline) {
  lock_wanted_.fetch_add(1);
  bool locked = driver_.try_lock();
  while (!locked && system_clock().now_ns() < deadline) {
    std::this_thread::yield();
    locked = driver_.try_lock();
  }
  lock_wanted_.fetch_sub(1);
  return locked;
}

uint64_t Engine::add_endpoint_sink(EndpointEventSink* sink) {
  const auto free = std::find(sinks_.begin(), sinks_.end(), nullptr);
  const auto index = static_cast<uint64_t>(free - sinks_.begin());
  if (free == sinks_.end()) sinks_.push_back(nullptr);
  sinks_[index] = sink;
  return index << kTagBits;
}

void Engine::remove_endpoint_sink(uint64_t tag_base) { sinks_[tag_base >> kTagBits] = nullptr; }

void Engine::add_client(EngineClient* client) {
  clients_.push_back(client);
  if (armed_) client->prepare_sleep();
}

void Engine::remove_client(EngineClient* client) { std::erase(clients_, client); }

void Engine::watch(int fd) {
  if (fd < 0) return;
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Engine::unwatch(int fd) {
  if (fd >= 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Engine::wait(Completion& completion, TimeNs spin_ns, TimeNs deadline) {
  const auto over = [&completion, deadline] {
    return completion.done() || (deadline != kNever && system_clock().now_ns() >= deadline);
  };
  if (over()) return;  // and nobody is disturbed or thinks that somebody drives
  if (habit_.expects()) habit_.came(system_clock().now_ns());
  waiting_callers_.fetch_add(1);
  if (thread_sleeps_.load()) wake_sleeper();
  bool left_work = false;
  bool holds = false;
  while (!over()) {
    if (!driver_.try_lock()) {
      completion.wait_for(kSharedWait);
      continue;
    }
    drive(spin_ns, std::min(kWatchInterval, deadline - system_clock().now_ns()), over, &completion);
    left_work = has_work();
    holds = held_since_.load(std::memory_order_relaxed) != kNothingHeld;
    driver_.unlock();
  }
  waiting_callers_.fetch_sub(1);
  if (left_work) {
    wake_thread();
  } else if (holds) {
    stand_by();
  }
}

bool Engine::drive_until(const std::function<bool()>& done, TimeNs deadline) {
  const auto ended = [&] { return done() || system_clock().now_ns() >= deadline; };
  const DriverLock held(*this);
  drive(0, kMillisecond, ended);
  return done();
}

void Engine::depart(TimeNs patience) {
  const TimeNs begin = system_clock().now_ns();
  const TimeNs deadline = begin + patience;
  if (!lock_until(deadline)) return;
  drive(0, kMillisecond, [this, begin, deadline]() RAILCCL_REQUIRES(driver_) {
    const TimeNs now = system_clock().now_ns();
    // Clients may work for each other.
    if (has_work() && now < begin + (deadline - begin) / 2) return false;
    bool all = true;
    for (EngineClient* client : clients_) all &= client->depart();
    return all || now >= deadline;
  });
  driver_.unlock();
}

void Engine::drive_briefly() {
  if (!driver_.try_lock()) return;
  drive_once();
  driver_.unlock();
}

void Engine::kick() {
  stir();
  if (sleeper_.load()) {
    wake_sleeper();
  } else {
    wake_thread();
  }
}

void Engine::kick_for_caller() {
  if (!habit_.begun(system_clock().now_ns()) || sleeper_.load()) return kick();
  stir();
  stand_by();
}

void Engine::wake_sleeper() {
  if (!sleeper_.load()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void Engine::wake_thread() {
  standby_.store(false);
  const MutexLock guard(park_mutex_);
  park_.notify_one();
}

// Once for many operations: it stays until nothing has been held or begun for a while.
void Engine::stand_by() {
  if (standby_.load() || standby_.exchange(true)) return;
  const MutexLock guard(park_mutex_);
  park_.notify_one();
}

void Engine::run() {
  is_engine_thread = true;
  (void)prctl(PR_SET_TIMERSLACK, kTimerSlack);
  while (!stop_.load()) {
    if (standby_.load()) {
      watch_callers();
    } else if (waiting_callers_.load() == 0 && driver_.try_lock()) {
      drive(options_.spin_ns, kWatchInterval,
            [this] { return stop_.load() || waiting_callers_.load() > 0; });
      driver_.unlock();
    } else {
      park(kParkInterval);
    }
  }
}

void Engine::park(std::chrono::nanoseconds pause) {
  const MutexLock parked(park_mutex_);
  const bool called = pause == kParkInterval && standby_.load();  // since run() looked
  if (!stop_.load() && !called) park_.wait_for(park_mutex_, pause);
}

// What a stream holds is sent by its next calls; what is found old, nobody has called for. What was
// begun and is not waited for is left to run().
void Engine::watch_callers() {
  StandbyLooks looks(system_clock().now_ns());
  TimeNs pause = looks.pause();
  uint64_t begun = 0;  // until the last look
  for (int idle_looks = 0; standby_.load() && !stop_.load();) {
    park(std::chrono::nanoseconds(pause));
    const TimeNs now = system_clock().now_ns();
    if (habit_.overdue(now)) return standby_.store(false);
    const Held held = look_after_held(now);
    if (held == Held::kSent) looks.stream_ended(now);
    pause = looks.pause_after(now);
    const bool idle = held == Held::kNothing && habit_.count() == begun;
    begun = habit_.count();
    idle_looks = idle ? idle_looks + 1 : 0;
    if (idle_looks >= kIdleLooks) leave_standby();
  }
}

// The lock is taken only if no caller has come for long: one who meets it taken goes to sleep.
Engine::Held Engine::look_after_held(TimeNs now) {
  const TimeNs since = held_since_.load();
  if (since == kNothingHeld) return Held::kNothing;
  if (now - since < kHeldAtMost || !driver_.try_lock()) return Held::kForCaller;
  now_ = now;
  flush_rails(false);
  driver_.unlock();
  return Held::kSent;
}

// Who holds or begins something meanwhile sees that nobody stands by, or is seen here.
void Engine::leave_standby() {
  standby_.store(false);
  if (held_since_.load() != kNothingHeld || habit_.expects()) standby_.store(true);
}

void Engine::drive(TimeNs spin_ns, TimeNs limit, const std::function<bool()>& stop,
                   Completion* own) {
  TimeNs last_progress = kNever;  // not begun
  while (!stop()) {
    const bool worked = drive_once(own);
    if (worked || last_progress == kNever) last_progress = now_;
    if (lock_wanted_.load(std::memory_order_relaxed) > 0) make_room();
    if (worked) continue;
    const TimeNs patience = spin_ns == 0 ? 0 : std::max(spin_ns, budget_.spin_ns());
    if (now_ - last_progress < patience && has_work()) {
      // The peer may be waiting for this very core.
      if (spin_ns != kNever && now_ - last_progress >= yield_delay_.ns()) yield_core();
      continue;
    }
    if (!stop()) sleep(limit, own);
    last_progress = kNever;
  }
}

bool Engine::drive_once(const Completion* own) {
  now_ = system_clock().now_ns();
  if (armed_) disarm();
  const bool worked = clients_are_due() && progress_clients();
  // Last, so that what the clients have put leaves before a completed operation's caller returns.
  if (own != nullptr) return (own->done() ? leave_rails() : progress_for_waiter()) || worked;
  return progress_rails() || worked;
}

bool Engine::progress_for_waiter() {
  hold_.waits(now_);
  return progress_rails();
}

// The caller's operation is complete. What the rails have can wait for the next call, a little:
// looking costs a system call. So can, in a stream of such operations, what was put.
bool Engine::leave_rails() {
  hold_.ended(now_);
  if (hold_.allows(now_, rails_looked_at_) && !has_work()) return flush_rails(true);
  const bool waited = now_ - rails_looked_at_ >= SendHold::kSendsMayWait;
  const bool worked = waited ? progress_rails() : flush_rails(false);
  hold_.left(system_clock().now_ns());
  return worked;
}

bool Engine::clients_are_due() {
  if (!clients_rest_ || now_ >= clients_rest_until_) return true;
  return stirred_.load(std::memory_order_relaxed) ||
         std::ranges::any_of(clients_, [](const EngineClient* client) { return client->polls(); });
}

bool Engine::progress_clients() {
  // Should a stir come between this and the look, it is seen when the rest is over.
  stirred_.store(false, std::memory_order_relaxed);
  bool worked = false;
  for (size_t i = 0; i < clients_.size(); ++i) worked |= clients_[i]->progress(now_);
  clients_rest_ = !worked;
  clients_rest_until_ = now_ + kClientsRest;
  return worked;
}

bool Engine::progress_rails() {
  bool moved = false;
  for (size_t i = 0; i < rail_pointers_.size(); ++i) {
    current_rail_ = static_cast<int>(i);
    moved |= rail_pointers_[i]->progress(now_, *this);
  }
  note_held(false);
  // To send and receive may take longer than another look may wait.
  rails_looked_at_ = moved ? system_clock().now_ns() : now_;
  if (moved) clients_rest_ = false;
  return moved;
}

bool Engine::flush_rails(bool hold) {
  bool worked = false;
  bool holds = false;
  for (size_t i = 0; i < rail_pointers_.size(); ++i) {
    Rail& rail = *rail_pointers_[i];
    current_rail_ = static_cast<int>(i);
    const bool held = hold && rail.info().collects_puts;
    holds |= held;
    worked |= !held && rail.flush(now_, *this);
  }
  note_held(holds);
  return worked;
}

void Engine::note_held(bool holds) {
  const TimeNs since = held_since_.load(std::memory_order_relaxed);
  if (holds == (since != kNothingHeld)) return;
  held_since_.store(holds ? now_ : kNothingHeld);
}

bool Engine::has_work() const {
  return std::any_of(clients_.begin(), clients_.end(),
                     [](const EngineClient* client) { return client->has_work(); });
}

void Engine::sleep(TimeNs limit, Completion* own) {
  if (sleeper_.exchange(true)) {
    driver_.unlock();
    if (own != nullptr) {
      own->wait_for(kSharedWait);
    } else {
      std::this_thread::sleep_for(kSharedPause);
    }
    lock();
    return;
  }
  thread_sleeps_.store(is_engine_thread);
  // Announced first, then looked again, then asleep: whatever comes after the look rings a
  // descriptor.
  arm();
  now_ = system_clock().now_ns();
  TimeNs deadline = now_ + limit;
  bool found_work = false;
  for (EngineClient* client : clients_) {
    found_work |= client->progress(now_);
    deadline = std::min(deadline, client->next_deadline());
  }
  found_work |= progress_rails();  // what was put is not shown by a descriptor
  const bool abandoned = stop_.load() || (own == nullptr && waiting_callers_.load() > 0) ||
                         (own != nullptr && own->done());
  if (!found_work && !abandoned && deadline > now_) {
    const TimeNs asleep_at = now_;
    driver_.unlock();
    const SleepEnd end = sleep_on_descriptors(deadline - asleep_at);
    lock();
    sleep_end_ = end;
    now_ = system_clock().now_ns();
    budget_.slept(now_ - asleep_at);
    progress_rails();  // what has come is there when the clients look next
  }
  thread_sleeps_.store(false);
  sleeper_.store(false);
}

SleepEnd Engine::sleep_on_descriptors(TimeNs timeout) {
  const timespec limit{.tv_sec = static_cast<time_t>(timeout / kSecond),
                       .tv_nsec = static_cast<long>(timeout % kSecond)};
  const int shown = ppoll(slept_on_.data(), slept_on_.size(), &limit, nullptr);
  if (shown > 0 && slept_on_.front().revents == 0) return SleepEnd::kQuiet;
  uint64_t drained = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &drained, sizeof drained);
  return SleepEnd::kCalled;
}

void Engine::yield_core() {
  const TimeNs offered_at = system_clock().now_ns();
  sched_yield();
  yield_delay_.yielded(system_clock().now_ns() - offered_at);
}

void Engine::make_room() {
  driver_.unlock();
  for (int i = 0; i < kMostYields && lock_wanted_.load() > 0; ++i) std::this_thread::yield();
  lock();
}

void Engine::arm() {
  armed_ = true;
  for (EngineClient* client : clients_) client->prepare_sleep();
  for (Rail* rail : rail_pointers_) rail->prepare_sleep();
}

void Engine::disarm() {
  armed_ = false;
  for (EngineClient* client : clients_) client->finish_sleep(now_, sleep_end_);
  sleep_end_ = SleepEnd::kNotSlept;
}

void Engine::on_event(const RailEvent& event) {
  if (event.kind == RailEvent::Kind::kRailDown || event.kind == RailEvent::Kind::kRailUp) {
    for (EndpointEventSink* sink : sinks_) {
      if (sink != nullptr) sink->on_port_event(current_rail_, event, now_);
    }
    return;
  }
  const uint64_t index = event.endpoint_tag >> kTagBits;
  if (index >= sinks_.size() || sinks_[index] == nullptr) return;
  const auto pair = static_cast<int>(event.endpoint_tag & ((uint64_t{1} << kTagBits) - 1));
  sinks_[index]->on_endpoint_event(pair, event, now_);
}

}  // namespace railccl
