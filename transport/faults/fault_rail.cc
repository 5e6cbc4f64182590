#include "transport/faults/fault_rail.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <deque>
#include <unordered_set>
#include <utility>

#include "src/base/unique_fd.h"

namespace railccl {
namespace {

struct FaultName {
  std::string_view name;
  FaultPlan::Kind kind;
};
constexpr std::array kFaultNames = {
    FaultName{"fail", FaultPlan::Kind::kFail},
    FaultName{"lose", FaultPlan::Kind::kLoseCompletion},
    FaultName{"blackhole", FaultPlan::Kind::kBlackhole},
    FaultName{"down", FaultPlan::Kind::kPortDown},
    FaultName{"busy", FaultPlan::Kind::kBackPressure},
    FaultName{"corrupt", FaultPlan::Kind::kCorrupt},
    FaultName{"delay", FaultPlan::Kind::kDelay},
};

Result<uint64_t> parse_number(std::string_view text, std::string_view item) {
  uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) {
    return error(Code::kInvalidArgument, "fault '{}': '{}' is no number", item, text);
  }
  return value;
}

Result<FaultPlan> parse_fault_plan(std::string_view item) {
  const size_t at = item.find('@');
  const std::string_view name = item.substr(0, at);
  const auto known = std::find_if(kFaultNames.begin(), kFaultNames.end(),
                                  [&](const FaultName& each) { return each.name == name; });
  if (known == kFaultNames.end() || at == std::string_view::npos) {
    return error(Code::kInvalidArgument,
                 "fault '{}': wanted fail, lose, blackhole, down, busy, corrupt or delay, then "
                 "@puts[xcount]",
                 item);
  }
  const std::string_view numbers = item.substr(at + 1);
  const size_t times = numbers.find('x');
  FaultPlan plan{.kind = known->kind};
  RAILCCL_ASSIGN(plan.after_puts, parse_number(numbers.substr(0, times), item));
  if (times != std::string_view::npos) {
    RAILCCL_ASSIGN(plan.count, parse_number(numbers.substr(times + 1), item));
  }
  return plan;
}

class FaultEndpoint;

// A descriptor that is readable when the inner rail's is, or when `ring` was called since `clear`.
class FaultWake {
 public:
  static Result<FaultWake> create(int inner_fd);
  int fd() const { return poll_ ? poll_.get() : -1; }
  void ring();
  void clear();

 private:
  UniqueFd bell_;
  UniqueFd poll_;
};

class FaultRail final : public Rail, private EventSink {
 public:
  FaultRail(std::unique_ptr<Rail> inner, FaultWake wake, std::vector<FaultPlan> plans);

  const RailInfo& info() const override { return inner_->info(); }
  Result<std::unique_ptr<Registration>> register_memory(const MemoryRegion& region) override {
    return inner_->register_memory(region.always_placed());
  }
  Result<std::unique_ptr<Endpoint>> open_endpoint(uint64_t endpoint_tag) override;
  bool progress(TimeNs now, EventSink& sink) override;
  void prepare_sleep() override { inner_->prepare_sleep(); }
  int wake_fd() const override { return wake_.fd(); }

 private:
  friend class FaultEndpoint;
  struct Held {
    RailEvent event;
    uint64_t due = 0;  // of rounds_
  };

  void on_event(const RailEvent& event) override;
  // Plans whose time has come with this put.
  Status meet_plans(FaultEndpoint& endpoint);
  void start(const FaultPlan& plan, FaultEndpoint& endpoint);
  void raise(const RailEvent& event);
  void corrupt(const RailEvent& event);
  FaultEndpoint* find(uint64_t tag) const;

  std::unique_ptr<Rail> inner_;
  FaultWake wake_;
  std::deque<FaultPlan> plans_;
  std::vector<FaultEndpoint*> endpoints_;
  std::deque<Held> held_;  // in the order in which they are reported
  uint64_t puts_ = 0;
  uint64_t rounds_ = 0;
  uint64_t delay_ = 0;
  uint64_t refusals_left_ = 0;
  uint64_t corruptions_left_ = 0;
  bool blackhole_ = false;
  bool lose_next_ = false;
};

class FaultEndpoint final : public Endpoint {
 public:
  FaultEndpoint(FaultRail& rail, std::unique_ptr<Endpoint> inner, uint64_t tag)
      : rail_(rail), inner_(std::move(inner)), tag_(tag) {
    rail_.endpoints_.push_back(this);
  }
  ~FaultEndpoint() override { std::erase(rail_.endpoints_, this); }

  std::vector<std::byte> address() const override { return inner_->address(); }
  Status connect(const std::vector<std::byte>& peer_address) override {
    return inner_->connect(peer_address);
  }
  Status put(const Put& put) override;
  void close() override { inner_->close(); }

  uint64_t tag() const { return tag_; }
  // The owner sees a failure. The inner endpoint lives on until the owner closes it, and completes
  // what it has accepted: the peer sees nothing.
  void fail(const Status& status);
  // What the owner sees of an event of the inner endpoint.
  void pass(RailEvent event);

 private:
  void end_swallowed(const Status& status);

  FaultRail& rail_;
  std::unique_ptr<Endpoint> inner_;
  uint64_t tag_;
  bool failed_ = false;
  std::unordered_set<uint64_t> lost_;  // tokens that will complete with an error
  std::vector<uint64_t> swallowed_;    // tokens that were never given to the inner endpoint
};

Status injected(const RailInfo& info, std::string_view what) {
  return {Code::kRailFailed, fmt::format("rail {}: injected fault: {}", info.name, what)};
}

// --- FaultWake -----------------------------------------------------------------------------------

Result<FaultWake> FaultWake::create(int inner_fd) {
  FaultWake wake;
  if (inner_fd < 0) return wake;  // simulated time: nobody sleeps
  wake.bell_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  wake.poll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!wake.bell_ || !wake.poll_) return system_error(errno, "a fault rail's descriptors");
  for (const int fd : {inner_fd, wake.bell_.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(wake.poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      return system_error(errno, "epoll_ctl of a fault rail");
    }
  }
  return wake;
}

// A full counter is readable all the same, an empty one needs no clearing.
void FaultWake::ring() {
  if (bell_) (void)!::eventfd_write(bell_.get(), 1);
}
void FaultWake::clear() {
  eventfd_t count = 0;
  if (bell_) (void)!::eventfd_read(bell_.get(), &count);
}

// --- FaultEndpoint -------------------------------------------------------------------------------

Status FaultEndpoint::put(const Put& put) {
  if (!failed_) RAILCCL_TRY(rail_.meet_plans(*this));
  if (failed_) return injected(rail_.info(), "the endpoint has failed");
  if (rail_.blackhole_) {
    swallowed_.push_back(put.token);
    return Status::ok();
  }
  RAILCCL_TRY(inner_->put(put));
  ++rail_.puts_;
  if (std::exchange(rail_.lose_next_, false)) lost_.insert(put.token);
  return Status::ok();
}

void FaultEndpoint::end_swallowed(const Status& status) {
  for (const uint64_t token : std::exchange(swallowed_, {})) {
    rail_.raise({.kind = RailEvent::Kind::kPutDone,
                 .endpoint_tag = tag_,
                 .token = token,
                 .status = status});
  }
}

void FaultEndpoint::fail(const Status& status) {
  if (std::exchange(failed_, true)) return;
  end_swallowed(status);
  rail_.raise({.kind = RailEvent::Kind::kFailed, .endpoint_tag = tag_, .status = status});
}

void FaultEndpoint::pass(RailEvent event) {
  switch (event.kind) {
    case RailEvent::Kind::kFailed:
      fail(event.status);
      return;
    case RailEvent::Kind::kClosed:
      end_swallowed(injected(rail_.info(), "the endpoint was closed"));
      break;
    case RailEvent::Kind::kPutDone:
      if (lost_.erase(event.token) != 0) {
        event.status = injected(rail_.info(), "a completion was lost");
        rail_.raise(event);
        fail(event.status);
        return;
      }
      break;
    case RailEvent::Kind::kNotification:
      rail_.corrupt(event);
      break;
    default:
      break;
  }
  rail_.raise(event);
}

// --- FaultRail -----------------------------------------------------------------------------------

FaultRail::FaultRail(std::unique_ptr<Rail> inner, FaultWake wake, std::vector<FaultPlan> plans)
    : inner_(std::move(inner)), wake_(std::move(wake)) {
  std::stable_sort(plans.begin(), plans.end(), [](const FaultPlan& a, const FaultPlan& b) {
    return a.after_puts < b.after_puts;
  });
  plans_.assign(plans.begin(), plans.end());
}

Result<std::unique_ptr<Endpoint>> FaultRail::open_endpoint(uint64_t endpoint_tag) {
  RAILCCL_ASSIGN(std::unique_ptr<Endpoint> inner, inner_->open_endpoint(endpoint_tag));
  return std::make_unique<FaultEndpoint>(*this, std::move(inner), endpoint_tag);
}

void FaultRail::raise(const RailEvent& event) {
  held_.push_back({.event = event, .due = rounds_ + delay_});
  wake_.ring();
}

// The memory was registered for peers to write to, and its owner does not know of the put yet.
void FaultRail::corrupt(const RailEvent& event) {
  if (corruptions_left_ == 0 || event.data == nullptr) return;
  --corruptions_left_;
  const_cast<std::byte*>(event.data)[event.bytes / 2] ^= std::byte{1};
}

FaultEndpoint* FaultRail::find(uint64_t tag) const {
  for (FaultEndpoint* endpoint : endpoints_) {
    if (endpoint->tag() == tag) return endpoint;
  }
  return nullptr;
}

Status FaultRail::meet_plans(FaultEndpoint& endpoint) {
  while (!plans_.empty() && puts_ >= plans_.front().after_puts) {
    const FaultPlan plan = plans_.front();
    plans_.pop_front();
    start(plan, endpoint);
  }
  if (refusals_left_ == 0) return Status::ok();
  --refusals_left_;
  wake_.ring();  // the refusal passes with the next progress
  return Status::back_pressure();
}

void FaultRail::start(const FaultPlan& plan, FaultEndpoint& endpoint) {
  switch (plan.kind) {
    case FaultPlan::Kind::kFail:
      endpoint.fail(injected(info(), "the endpoint failed"));
      break;
    case FaultPlan::Kind::kLoseCompletion:
      lose_next_ = true;
      break;
    case FaultPlan::Kind::kBlackhole:
      blackhole_ = true;
      break;
    case FaultPlan::Kind::kPortDown: {
      const Status status = injected(info(), "the port went down");
      raise({.kind = RailEvent::Kind::kRailDown, .status = status});
      for (FaultEndpoint* each : endpoints_) each->fail(status);
      break;
    }
    case FaultPlan::Kind::kBackPressure:
      refusals_left_ += plan.count;
      break;
    case FaultPlan::Kind::kCorrupt:
      corruptions_left_ += plan.count;
      break;
    case FaultPlan::Kind::kDelay:
      delay_ = plan.count;
      break;
  }
}

void FaultRail::on_event(const RailEvent& event) {
  const bool of_port =
      event.kind == RailEvent::Kind::kRailDown || event.kind == RailEvent::Kind::kRailUp;
  FaultEndpoint* endpoint = of_port ? nullptr : find(event.endpoint_tag);
  if (endpoint != nullptr) {
    endpoint->pass(event);
  } else {
    raise(event);
  }
}

bool FaultRail::progress(TimeNs now, EventSink& sink) {
  ++rounds_;
  wake_.clear();
  bool did = inner_->progress(now, *this);
  // In order, so that kClosed stays behind the completions before it.
  const size_t waiting = held_.size();
  for (size_t i = 0; i < waiting && held_.front().due <= rounds_; ++i) {
    const RailEvent event = std::move(held_.front().event);
    held_.pop_front();
    sink.on_event(event);
    did = true;
  }
  // What is held back is work that is left: nobody may go to sleep over it.
  if (held_.empty()) return did;
  wake_.ring();
  return true;
}

}  // namespace

Result<std::vector<FaultPlan>> parse_fault_plans(std::string_view text) {
  std::vector<FaultPlan> plans;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    RAILCCL_ASSIGN(const FaultPlan plan, parse_fault_plan(text.substr(0, comma)));
    plans.push_back(plan);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return plans;
}

Result<std::unique_ptr<Rail>> make_fault_rail(std::unique_ptr<Rail> inner,
                                              std::vector<FaultPlan> plans) {
  RAILCCL_ASSIGN(FaultWake wake, FaultWake::create(inner->wake_fd()));
  return std::make_unique<FaultRail>(std::move(inner), std::move(wake), std::move(plans));
}

}  // namespace railccl
