#include "src/core/bootstrap_meeting.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "src/core/control_path_tcp.h"
#include "src/core/net_interface.h"

namespace railccl::boot {
namespace {

constexpr size_t kMessageQueue = size_t{16} << 20;  // per peer; a gather's table comes on top
constexpr TimeNs kExplanationTime = kSecond;
constexpr TimeNs kAbortCheck = 50 * kMillisecond;
constexpr TimeNs kRootGrace = 5 * kSecond;  // the root, which can name who is missing, speaks first

std::string system_host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace

Result<std::unique_ptr<Meeting>> Meeting::create(std::vector<UniqueId> ids,
                                                 const BootstrapOptions& options,
                                                 std::span<const std::byte> info,
                                                 const std::atomic<bool>& abort) {
  RAILCCL_ASSIGN(Poller poller, Poller::create());
  return std::unique_ptr<Meeting>(
      new Meeting(std::move(ids), options, info, abort, std::move(poller)));
}

Meeting::Meeting(std::vector<UniqueId> ids, const BootstrapOptions& options,
                 std::span<const std::byte> info, const std::atomic<bool>& abort, Poller poller)
    : ids_(std::move(ids)),
      options_(options),
      info_(info.begin(), info.end()),
      abort_(abort),
      tree_(options.ranks, std::min(options.ranks, static_cast<int>(ids_.size()))),
      poller_(std::move(poller)),
      host_(options.host_label.empty() ? system_host_name() : options.host_label) {
  const Hello who{.purpose = Purpose::kJoin,
                  .from = static_cast<uint32_t>(options.rank),
                  .ranks = static_cast<uint32_t>(options.ranks)};
  for (const int root : tree_.roots_of(options.rank)) {
    const UniqueId& id = ids_[static_cast<size_t>(root)];
    contacts_.push_back(
        {.root = root, .link = std::make_unique<RootContact>(id, who, options.family, poller_)});
  }
}

Result<std::unique_ptr<ControlPath>> Meeting::run() {
  began_ = system_clock().now_ns();
  for (;;) {
    const TimeNs now = system_clock().now_ns();
    const Result<bool> met = step(now);
    if (!met) return Error(give_up(met.error()));
    if (*met) break;
    if (const Status in_time = check_times(now); !in_time) return Error(give_up(in_time));
    wait(now);
  }
  RAILCCL_TRY(path_->end_meeting());
  for (Contact& contact : contacts_) contact.link->tell_met();
  poller_.forget(path_->wake_fd());
  return std::unique_ptr<ControlPath>(std::move(path_));
}

Result<bool> Meeting::step(TimeNs now) {
  for (Contact& contact : contacts_) RAILCCL_TRY(contact.link->progress(now));
  if (!path_ && contacts_.front().link->connected()) RAILCCL_TRY(open_path(now));
  if (!path_) return false;
  join_all();
  for (Contact& contact : contacts_) {
    if (const auto parent = contact.link->take_parent()) path_->set_parent(*parent);
  }
  path_->step(now);
  if (path_->poll_gather(TreeControlPath::kPlacesSequence) != nullptr) return true;
  RAILCCL_TRY(path_problem(now));
  return false;
}

Result<SocketAddress> Meeting::listen_address() const {
  if (options_.interface_spec.empty()) {
    return contacts_.front().link->local_address().with_port(0);
  }
  RAILCCL_ASSIGN(const std::vector<Interface> all, list_interfaces());
  RAILCCL_ASSIGN(const Interface chosen,
                 choose_interface(options_.interface_spec, options_.family, all));
  return chosen.address;
}

Status Meeting::open_path(TimeNs now) {
  RAILCCL_ASSIGN(const SocketAddress wanted, listen_address());
  Socket listener = open_listener(wanted);
  if (listener.problem != 0) {
    return error(Code::kSystemError, "rank {} cannot listen on {}: {}", options_.rank,
                 wanted.host(), std::strerror(listener.problem));
  }
  address_ = local_address(listener.fd.get());
  const size_t tables = static_cast<size_t>(options_.ranks) * (kMaxGatherBytes + 64);
  const ConnectionOptions connection{.rank = options_.rank,
                                     .ranks = options_.ranks,
                                     .key = session_key(ids_),
                                     .silence_timeout_ns = options_.silence_timeout_ns,
                                     .max_queued_bytes = kMessageQueue + tables};
  RAILCCL_ASSIGN(auto connections, TcpConnections::create(connection, std::move(listener.fd), now));
  path_ = std::make_unique<TreeControlPath>(connection, tree_, std::move(connections), now);
  RAILCCL_TRY(poller_.watch(path_->wake_fd(), false));
  const Place place{
      .address = address_, .pid = static_cast<uint32_t>(::getpid()), .host = host_, .info = info_};
  return path_->begin_gather(TreeControlPath::kPlacesSequence, pack(place));
}

void Meeting::join_all() {
  for (Contact& contact : contacts_) {
    if (contact.joined || !contact.link->connected()) continue;
    contact.joined = true;
    contact.link->join({.roots = static_cast<uint32_t>(tree_.roots()),
                        .root = static_cast<uint32_t>(contact.root),
                        .address = address_,
                        .pid = static_cast<uint32_t>(::getpid()),
                        .host = host_});
  }
}

Status Meeting::check_times(TimeNs now) const {
  if (abort_.load(std::memory_order_relaxed)) {
    return error(Code::kAborted, "rank {} was aborted while the ranks were meeting", options_.rank);
  }
  const TimeNs timeout = options_.rank_timeout_ns;
  for (const Contact& contact : contacts_) {
    if (contact.link->connected() || now < began_ + timeout) continue;
    return error(Code::kTimeout,
                 "rank {} on host {} tried for {:.1f} s: {}. Is that process running, is the "
                 "address the one that all hosts reach (RAILCCL_COMM_ID, MASTER_ADDR, "
                 "RAILCCL_SOCKET_IFNAME), is the port open in the firewall?",
                 options_.rank, host_, in_seconds(timeout), contact.link->problem());
  }
  if (now < began_ + timeout + std::min(timeout, kRootGrace)) return Status::ok();
  return error(Code::kTimeout,
               "rank {} on host {} has met its root but not the other ranks in {:.1f} s; its "
               "listener is {}: can all hosts reach that address (RAILCCL_SOCKET_IFNAME)?",
               options_.rank, host_, in_seconds(now - began_), address_.text());
}

void Meeting::wait(TimeNs now) {
  TimeNs until = now + kAbortCheck;
  for (const Contact& contact : contacts_) {
    until = std::min(until, contact.link->next_deadline());
  }
  if (path_) until = std::min(until, path_->next_deadline());
  if (until <= now) return;
  (void)poller_.ready(static_cast<int>((until - now + kMillisecond - 1) / kMillisecond));
}

// A rank whose connection ended may have given up for a reason that the root is about to tell.
Status Meeting::path_problem(TimeNs now) {
  const auto problem = path_->problem();
  if (!problem) return Status::ok();
  if (path_->failure_announced()) return *problem;
  if (problem_at_ == 0) problem_at_ = now;
  return now < problem_at_ + kExplanationTime ? Status::ok() : *problem;
}

// All others must hear of it: the neighbours in the tree, and through the roots everyone.
Status Meeting::give_up(const Status& status) {
  if (path_) path_->announce_failure(status);
  if (contacts_.size() > 1) reach_all_roots();
  for (Contact& contact : contacts_) contact.link->tell_failed(status);
  return status;
}

void Meeting::reach_all_roots() {
  const TimeNs end = system_clock().now_ns() + kExplanationTime;
  for (TimeNs now = 0; now < end;) {
    now = system_clock().now_ns();
    bool all = true;
    for (Contact& contact : contacts_) {
      if (!contact.link->connected()) (void)contact.link->progress(now);
      all &= contact.link->connected();
    }
    if (all) return;
    (void)poller_.ready(10);
  }
}

}  // namespace railccl::boot
