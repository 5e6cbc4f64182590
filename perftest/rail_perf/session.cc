#include "perftest/rail_perf/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "perftest/rail_perf/interrupt.h"

namespace railccl::perftest::railperf {
namespace {

constexpr TimeNs kCloseTimeout = 2 * kSecond;
constexpr TimeNs kGoodbyeTimeout = 5 * kSecond;
constexpr TimeNs kParting = 50 * kMillisecond;

}  // namespace

Session::Session(const SessionOptions& options, std::shared_ptr<Engine> engine,
                 std::unique_ptr<ControlPath> control)
    : options_(options),
      engine_(std::move(engine)),
      control_(std::move(control)),
      rail_memory_(*engine_) {
  const DriverLock held(*engine_);
  engine_->watch(control_->wake_fd());
  engine_->add_client(this);
}

Session::~Session() {
  close_links();
  close_control(error().is_ok() ? kGoodbyeTimeout : kParting);
  const DriverLock held(*engine_);
  engine_->remove_client(this);
  engine_->unwatch(control_->wake_fd());
  links_.clear();
  sending_.reset();
  receiving_.reset();
  rail_memory_.clear();
}

// --- Waiting -------------------------------------------------------------------------------------

Status Session::wait(const std::function<bool()>& condition, bool busy, const MeasuredLink* link) {
  Completion completion;
  {
    const DriverLock held(*engine_);
    heard_at_ = system_clock().now_ns();
    condition_ = &condition;
    waited_link_ = link;
    completion_ = &completion;
    busy_ = busy || resident_ != nullptr;
  }
  engine_->wait(completion, options_.spin_ns);
  const DriverLock held(*engine_);
  condition_ = nullptr;
  completion_ = nullptr;
  waited_link_ = nullptr;
  busy_ = false;
  RAILCCL_TRY(error_);
  if (link != nullptr) RAILCCL_TRY(link->status());
  if (condition()) return Status::ok();
  if (interrupted()) return railccl::error(Code::kAborted, "interrupted");
  return railccl::error(Code::kTimeout, "rank {} has not been heard of for {} s", options_.peer,
                        options_.patience / kSecond);
}

TimeNs Session::alive_at() const {
  TimeNs at = heard_at_;
  for (const auto& link : links_) at = std::max(at, link->alive_at());
  return at;
}

bool Session::is_over(const MeasuredLink* link) const {
  if (!error_ || (link != nullptr && !link->status())) return true;
  if (!is_closing_ && interrupted()) return true;
  return options_.patience > 0 && now_ > alive_at() + options_.patience;
}

bool Session::progress(TimeNs now) {
  now_ = now;
  bool worked = false;
  if (control_looks_.due(now)) {
    worked = control_->progress(now, *this);
    control_looks_.looked(now, worked);
  }
  for (const auto& link : links_) worked |= link->progress(now);
  if (completion_ != nullptr && (is_over(waited_link_) || (*condition_)())) {
    completion_->complete(Status::ok());
    completion_ = nullptr;
  }
  return worked;
}

TimeNs Session::next_deadline() const {
  TimeNs deadline = control_->next_deadline();
  for (const auto& link : links_) deadline = std::min(deadline, link->next_deadline());
  return deadline;
}

// --- Control path --------------------------------------------------------------------------------

Status Session::send(std::span<const std::byte> message) {
  const DriverLock held(*engine_);
  return control_->send(options_.peer, message);
}

Result<Incoming> Session::receive() {
  RAILCCL_TRY(wait([this] { return !incoming_.empty(); }, false, nullptr));
  const DriverLock held(*engine_);
  Incoming first = std::move(incoming_.front());
  incoming_.pop_front();
  return first;
}

void Session::on_control_message(int peer, std::span<const std::byte> message) {
  if (peer != options_.peer || message.empty()) return;
  heard_at_ = now_;
  const Status status = deliver(static_cast<Kind>(message.front()), message.subspan(1));
  if (!status && error_) error_ = status;
}

Status Session::deliver(Kind kind, std::span<const std::byte> body) {
  if (kind != Kind::kOffer && kind != Kind::kForLink) {
    incoming_.push_back({.kind = kind, .body = {body.begin(), body.end()}});
    return Status::ok();
  }
  uint32_t number = 0;
  if (body.size() < sizeof number) {
    return railccl::error(Code::kPeerFailed, "rank {} sent a message without a link's number",
                          options_.peer);
  }
  std::copy_n(body.begin(), sizeof number, reinterpret_cast<std::byte*>(&number));
  body = body.subspan(sizeof number);
  if (number >= links_.size()) return Status::ok();  // closed here already
  MeasuredLink& link = *links_[number];
  if (kind == Kind::kForLink) return link.on_frame(body, now_);
  RAILCCL_ASSIGN(const LinkOffer offer, decode_offer(body));
  return link.on_offer(offer, now_);
}

void Session::on_peer_lost(int peer, const Status& status) {
  if (peer == options_.peer && error_) error_ = status;
}

void Session::on_failure_announced(int /*origin*/, const Status& status) {
  if (error_) error_ = status;
}

Status Session::error() const {
  const DriverLock held(*engine_);
  return error_;
}

void Session::fail(const Status& status) {
  {
    const DriverLock held(*engine_);
    if (!error_) return;
    error_ = status;
    control_->announce_failure(status);
  }
  engine_->drive_until([] { return false; }, system_clock().now_ns() + kParting);
}

// --- Memory and links ----------------------------------------------------------------------------

Status Session::make_buffers(uint64_t bytes) {
  area_bytes_ = bytes;
  RAILCCL_ASSIGN(sending_, make_buffer(send_memory_));
  RAILCCL_ASSIGN(receiving_, make_buffer(receive_memory_));
  return Status::ok();
}

Result<std::shared_ptr<const RegisteredBuffer>> Session::make_buffer(MappedMemory& memory) {
  RAILCCL_ASSIGN(memory, MappedMemory::anonymous(area_bytes_ + kGuardBytes));
  std::fill_n(memory.data(), memory.bytes(), std::byte{});
  const DriverLock held(*engine_);
  return rail_memory_.acquire(memory.data(), memory.bytes());
}

Status Session::open_link(const std::vector<LinkOptions::Pair>& pairs) {
  const DriverLock held(*engine_);
  LinkOptions link_options = options_.link;
  link_options.pairs = pairs;
  const auto number = static_cast<uint32_t>(links_.size());
  const auto send = [this](const std::vector<std::byte>& message) {
    // That the peer is gone comes by itself.
    static_cast<void>(control_->send(options_.peer, message).is_ok());
  };
  RAILCCL_ASSIGN(auto link, MeasuredLink::create(number, link_options, *engine_, send));
  links_.push_back(std::move(link));
  return Status::ok();
}

Status Session::offer_links() {
  const DriverLock held(*engine_);
  for (const auto& link : links_) {
    RAILCCL_TRY(control_->send(options_.peer, link->offer(*receiving_)));
  }
  return Status::ok();
}

Status Session::await_connected(uint32_t link) {
  const MeasuredLink* const waited = links_[link].get();
  return wait([waited] { return waited->connected(); }, true, waited);
}

std::vector<LinkRailStats> Session::stats(uint32_t link) {
  const DriverLock held(*engine_);
  return links_[link]->stats();
}

Slots Session::slots(uint32_t link, uint64_t bytes, uint64_t window) const {
  return {.source = sending_.get(),
          .target = &links_[link]->target(),
          .bytes = bytes,
          .window = window};
}

Status Session::link_status(uint32_t link) const {
  const DriverLock held(*engine_);
  return links_[link]->status();
}

// --- Activities ----------------------------------------------------------------------------------

Status Session::run(uint32_t link, Activity& activity) {
  MeasuredLink* const measured = links_[link].get();
  {
    const DriverLock held(*engine_);
    measured->begin(&activity);
  }
  const Status status = wait([&activity] { return activity.done(); }, true, measured);
  const DriverLock held(*engine_);
  measured->begin(nullptr);
  return status;
}

void Session::begin(uint32_t link, Activity& activity) {
  const DriverLock held(*engine_);
  resident_ = &activity;
  links_[link]->begin(&activity);
}

void Session::end_activity() {
  const DriverLock held(*engine_);
  resident_ = nullptr;
  for (const auto& link : links_) link->begin(nullptr);
}

// --- The end -------------------------------------------------------------------------------------

void Session::close_links() {
  is_closing_ = true;
  const Status reason(Code::kAborted, "the measurement is over");
  {
    const DriverLock held(*engine_);
    for (const auto& link : links_) link->close(reason, system_clock().now_ns());
  }
  const auto all_closed = [this] {
    return std::all_of(links_.begin(), links_.end(),
                       [](const auto& link) { return link->closed(); });
  };
  engine_->drive_until(all_closed, system_clock().now_ns() + kCloseTimeout);
}

void Session::close_control(TimeNs timeout) {
  {
    const DriverLock held(*engine_);
    control_->close({});  // it runs no operations
  }
  engine_->drive_until([this] { return control_->closed(); }, system_clock().now_ns() + timeout);
}

Status Session::await_end() {
  {
    const DriverLock held(*engine_);
    control_->close({});  // it runs no operations
  }
  return wait([this] { return control_->closed(); }, false, nullptr);
}

}  // namespace railccl::perftest::railperf
