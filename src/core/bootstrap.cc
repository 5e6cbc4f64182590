#include "src/core/bootstrap.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "src/base/log.h"
#include "src/core/bootstrap_meeting.h"
#include "src/core/bootstrap_root.h"
#include "src/core/net_interface.h"
#include "src/core/unique_id.h"

namespace railccl {
namespace {

using boot::RootContact;
using boot::Socket;
using boot::SocketAddress;
using boot::UniqueId;

constexpr TimeNs kProbeTimeout = 2 * kSecond;

// A root holds a connection to each rank that comes, and a rank one to each that it talks to: more
// than the 1024 files that are the usual soft limit. The hard limit is the system's word.
void allow_many_files() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= files.rlim_max) return;
  files.rlim_cur = files.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) {
    RAILCCL_INFO(Subsys::kBootstrap, "bootstrap: the limit on open files stays as it is: {}",
                 std::strerror(errno));
  }
}

Status serve(const UniqueId& id, const std::string& address, UniqueFd listener,
             const BootstrapOptions& options) {
  allow_many_files();
  return boot::start_root({.key = boot::root_key(id),
                           .address = address,
                           .address_is_reused = id.kind == UniqueId::Kind::kDerived,
                           .rank_timeout_ns = options.rank_timeout_ns,
                           .door = {}},
                          std::move(listener));
}

Result<UniqueIdBytes> create_random_id(const BootstrapOptions& options) {
  RAILCCL_ASSIGN(const std::vector<boot::Interface> all, boot::list_interfaces());
  RAILCCL_ASSIGN(const boot::Interface chosen,
                 boot::choose_interface(options.interface_spec, options.family, all));
  Socket listener = boot::open_listener(chosen.address.with_port(0));
  if (listener.problem != 0) {
    return error(Code::kSystemError,
                 "cannot listen on {} ({}) for the ranks of a new unique id: {}",
                 chosen.address.host(), chosen.name, std::strerror(listener.problem));
  }
  const SocketAddress address = boot::local_address(listener.fd.get());
  UniqueId id{.kind = UniqueId::Kind::kCreated, .port = address.port(), .host = address.host()};
  boot::fill_random(id.key);
  RAILCCL_TRY(serve(id, address.text(), std::move(listener.fd), options));
  return boot::pack(id);
}

// Whether a root with the key of `id` answers there.
bool probe(const UniqueId& id, const BootstrapOptions& options) {
  Result<boot::Poller> poller = boot::Poller::create();
  if (!poller) return false;
  RootContact contact(id, {.purpose = boot::Purpose::kProbe}, options.family, *poller);
  const Clock& clock = system_clock();
  const TimeNs end = clock.now_ns() + kProbeTimeout;
  for (TimeNs now = clock.now_ns(); now < end; now = clock.now_ns()) {
    // The root closes right after its welcome, which progress() reports as an error.
    const Status status = contact.progress(now);
    if (contact.connected()) return true;
    if (!status) return false;
    (void)poller->ready(10);
  }
  return false;
}

// RAILCCL_COMM_ID: whoever can listen there serves; the others find it there.
Result<UniqueIdBytes> create_agreed_id(const BootstrapOptions& options,
                                       const std::string& comm_id_address) {
  Result<boot::HostPort> target = boot::parse_host_port(comm_id_address);
  if (!target) return Error(target.error().with_context("RAILCCL_COMM_ID"));
  RAILCCL_ASSIGN(const UniqueIdBytes bytes,
                 derive_unique_id(target->host, {.first = target->port}, options.job_secret));
  RAILCCL_ASSIGN(const UniqueId id, boot::unpack_unique_id(bytes));
  const auto addresses = boot::resolve(*target, options.family);
  if (!addresses) return Error(addresses.error().with_context("RAILCCL_COMM_ID"));
  for (const SocketAddress& address : *addresses) {
    Socket listener = boot::open_listener(address);
    if (listener.problem == 0) {
      RAILCCL_TRY(serve(id, address.text(), std::move(listener.fd), options));
      return bytes;
    }
    if (listener.problem == EADDRNOTAVAIL ||
        (listener.problem == EADDRINUSE && probe(id, options))) {
      continue;
    }
    return error(Code::kSystemError,
                 "RAILCCL_COMM_ID={}: cannot listen there: {}. Choose a port that no other program "
                 "on that host uses",
                 comm_id_address, std::strerror(listener.problem));
  }
  return bytes;
}

// Where rank 0 of a derived id listens: a name may mean another of its addresses elsewhere.
std::vector<SocketAddress> serving_addresses(const UniqueId& id, int family) {
  const auto named = boot::resolve({.host = id.host, .port = id.port}, family);
  if (named && named->front().is_loopback() && named->front().host() == id.host) return *named;
  if (named && named->front().family() != family) family = 0;
  std::vector<SocketAddress> all;
  if (family != AF_INET) all.push_back(SocketAddress::any(AF_INET6));
  if (family != AF_INET6) all.push_back(SocketAddress::any(AF_INET));
  return all;
}

}  // namespace

uint64_t public_hash(std::span<const UniqueIdBytes> ids) {
  std::vector<std::byte> all;
  for (const UniqueIdBytes& id : ids) all.insert(all.end(), id.begin(), id.end());
  const boot::Key digest = boot::derive_key("railccl public hash", all);
  uint64_t hash = 0;
  std::memcpy(&hash, digest.data(), sizeof hash);
  return hash;
}

Result<UniqueIdBytes> create_unique_id(const BootstrapOptions& options,
                                       const std::string& comm_id_address) {
  return comm_id_address.empty() ? create_random_id(options)
                                 : create_agreed_id(options, comm_id_address);
}

Result<UniqueIdBytes> derive_unique_id(const std::string& host, RootPorts ports,
                                       std::string_view secret) {
  if (host.empty() || host.size() > boot::kMaxHostBytes) {
    return error(Code::kInvalidArgument, "root host name '{}': 1 to {} characters are possible",
                 host, boot::kMaxHostBytes);
  }
  if (ports.first == 0 || ports.count < 1 || ports.count > 255 ||
      ports.first + ports.count - 1 > 65535) {
    return error(Code::kInvalidArgument,
                 "root ports {} to {}: 1 to 65535 are possible, 255 at most", ports.first,
                 ports.first + ports.count - 1);
  }
  UniqueId id{.kind = UniqueId::Kind::kDerived,
              .port = ports.first,
              .ports = static_cast<uint8_t>(ports.count),
              .host = host};
  const std::string material = fmt::format("{}\n{}\n{}", host, ports.first, secret);
  const boot::Key key = boot::derive_key("railccl derived id", std::as_bytes(std::span(material)));
  std::memcpy(id.key.data(), key.data(), id.key.size());
  return boot::pack(id);
}

Status serve_unique_id(const UniqueIdBytes& bytes, const BootstrapOptions& options) {
  RAILCCL_ASSIGN(const UniqueId id, boot::unpack_unique_id(bytes));
  int problem = 0;
  for (int i = 0; i < id.ports; ++i) {
    for (const SocketAddress& any : serving_addresses(id, options.family)) {
      const SocketAddress address = any.with_port(static_cast<uint16_t>(id.port + i));
      Socket listener = boot::open_listener(address);
      if (listener.problem == 0) return serve(id, address.text(), std::move(listener.fd), options);
      problem = listener.problem;
      if (problem == EADDRINUSE) break;  // the other family may be free, but this port is taken
    }
  }
  return error(Code::kSystemError,
               "rank 0 cannot listen at {}: {}. Another program has the port: choose another "
               "MASTER_PORT, or set RAILCCL_COMM_ID=host:port to a free one",
               boot::address_text(id), std::strerror(problem));
}

Result<std::unique_ptr<ControlPath>> connect_bootstrap(std::span<const UniqueIdBytes> ids,
                                                       const BootstrapOptions& options,
                                                       std::span<const std::byte> info,
                                                       const std::atomic<bool>& abort) {
  if (ids.empty()) return error(Code::kInvalidArgument, "no unique id was given");
  if (options.ranks < 1 || options.rank < 0 || options.rank >= options.ranks) {
    return error(Code::kInvalidArgument, "rank {} of {} ranks: ranks go from 0 to the number - 1",
                 options.rank, options.ranks);
  }
  if (info.size() > kMaxInfoBytes) {
    return error(Code::kInvalidArgument, "bootstrap info of {} bytes, at most {} are allowed",
                 info.size(), kMaxInfoBytes);
  }
  allow_many_files();
  std::vector<UniqueId> unpacked;
  for (const UniqueIdBytes& bytes : ids) {
    RAILCCL_ASSIGN(UniqueId id, boot::unpack_unique_id(bytes));
    unpacked.push_back(std::move(id));
  }
  RAILCCL_ASSIGN(const std::unique_ptr<boot::Meeting> meeting,
                 boot::Meeting::create(std::move(unpacked), options, info, abort));
  return meeting->run();
}

}  // namespace railccl
