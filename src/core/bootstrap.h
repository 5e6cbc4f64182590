// Makes a ControlPath among the ranks that know one unique id. Every connection proves knowledge of
// the id's 128-bit key (keyed MAC over fresh challenges, both ways) before any other byte of it is
// believed; lengths are bounded; strangers are dropped and logged once. Any thread; connect()
// blocks its caller until the deadline and is the only call here that does.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/core/control_path.h"

namespace railccl {

// The 128 bytes of ncclUniqueId: magic, version, key, port, host. Public wire format
// (docs/bootstrap.md).
using UniqueIdBytes = std::array<std::byte, 128>;

struct BootstrapOptions {
  int rank = 0;
  int ranks = 1;
  // A rank does not come: it is named, on every rank that is there.
  TimeNs rank_timeout_ns = 60 * kSecond;
  // A host says nothing (keep-alives go every third of it): its ranks are lost.
  TimeNs silence_timeout_ns = 10 * kSecond;
  // RAILCCL_SOCKET_IFNAME syntax: `[^][=]prefix,...`; empty: for a new id not lo/docker unless
  // nothing else is there, for a rank the interface that reaches the root.
  std::string interface_spec;
  int family = 0;          // 0 any, AF_INET, AF_INET6
  std::string host_label;  // for messages: host name of this rank; empty: asked from the system
  std::string job_secret;  // RAILCCL_JOB_SECRET: mixed into the key of an id made from an address
};

// A listener for new ranks in this process, which serves until all ranks of the id have met (its
// own thread, ended by the last rank's arrival or by process exit; it never delays the exit).
// `comm_id_address`: RAILCCL_COMM_ID ("host:port"); any rank may then make the same id by itself,
// the first one on that host serves. Empty: an own address, any port and a random key.
Result<UniqueIdBytes> create_unique_id(const BootstrapOptions& options,
                                       const std::string& comm_id_address);

// An id that every rank can derive by itself from an agreed address and a shared secret (torchrun,
// Slurm; launch_env.h): rank 0 also calls serve_unique_id with it. `ports`: how many consecutive
// ports from `port` on are tried; the key shows the ranks which of them is the right one.
struct RootPorts {
  uint16_t first = 0;
  int count = 1;
};
Result<UniqueIdBytes> derive_unique_id(const std::string& host, RootPorts ports,
                                       std::string_view secret);
Status serve_unique_id(const UniqueIdBytes& id, const BootstrapOptions& options);

// A number for the communicator of these ids, the same on all its ranks, for traces and files; says
// nothing about the key.
uint64_t public_hash(std::span<const UniqueIdBytes> ids);

// Several ids (ncclCommInitRankScalable) spread the first contact over several roots; the same list
// in the same order on every rank. `abort`: set by another thread to give up early. `info`: this
// rank's blob for all others, at most kMaxInfoBytes.
Result<std::unique_ptr<ControlPath>> connect_bootstrap(std::span<const UniqueIdBytes> ids,
                                                       const BootstrapOptions& options,
                                                       std::span<const std::byte> info,
                                                       const std::atomic<bool>& abort);
constexpr size_t kMaxInfoBytes = 1024;

}  // namespace railccl
