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

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/core/control_path.h"

namespace railccl {

// The 128 bytes of ncclUniqueId: magic, version, key, address family, address, port. Public wire
// format (docs/bootstrap.md).
using UniqueIdBytes = std::array<std::byte, 128>;

struct BootstrapOptions {
  int rank = 0;
  int ranks = 1;
  TimeNs rank_timeout_ns =
      60 * kSecond;  // a rank does not come: it is named, on every rank that is there
  TimeNs silence_timeout_ns =
      10 * kSecond;            // a host says nothing (keep-alives go every third of it)
  std::string interface_spec;  // RAILCCL_SOCKET_IFNAME syntax: `[^][=]prefix,...`; empty: not
                               // lo/docker unless nothing else is there
  int family = 0;              // 0 any, AF_INET, AF_INET6
  std::string host_label;      // for messages: host name of this rank
};

// A listener for new ranks in this process, which serves until all ranks of the id have met (its
// own thread, ended by the last rank's arrival or by process exit). `comm_id_address`:
// RAILCCL_COMM_ID ("ip:port"), empty: an own address and any port.
Result<UniqueIdBytes> create_unique_id(const BootstrapOptions& options,
                                       const std::string& comm_id_address);

// An id every rank can derive by itself from an agreed address and a shared job secret (torchrun,
// Slurm): rank 0 calls serve_unique_id with it.
UniqueIdBytes derive_unique_id(const std::string& host, uint16_t port, std::string_view secret);
Status serve_unique_id(const UniqueIdBytes& id, const BootstrapOptions& options);

// Several ids (ncclCommInitRankScalable) spread the first contact over several roots.
// `abort`: set by another thread to give up early. `info`: this rank's blob for all others, at most
// 1024 bytes.
Result<std::unique_ptr<ControlPath>> connect_bootstrap(std::span<const UniqueIdBytes> ids,
                                                       const BootstrapOptions& options,
                                                       std::span<const std::byte> info,
                                                       const std::atomic<bool>& abort);

}  // namespace railccl
