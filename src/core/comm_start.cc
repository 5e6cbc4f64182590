#include "src/core/comm_start.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <span>

#include "src/base/log.h"
#include "src/core/device_task.h"
#include "src/core/explain_output.h"
#include "src/core/own_node.h"
#include "src/core/p2p.h"
#include "src/core/rail_model.h"

namespace railccl {
namespace {

// Serves the control path before the engine does. A rank that is through with the start may already
// say something to one that is not; that is kept.
class StartSink final : public ControlSink {
 public:
  void on_control_message(int peer, std::span<const std::byte> message) override {
    early_messages_.emplace_back(peer, std::vector<std::byte>(message.begin(), message.end()));
  }
  void on_peer_lost(int /*peer*/, const Status& status) override { note(status); }
  void on_failure_announced(int /*origin*/, const Status& status) override { note(status); }
  void on_peer_left(int peer, const Departure& departure) override {
    left_.emplace_back(peer, departure);
  }
  const Status& status() const { return status_; }
  EarlyMessages take_early_messages() { return std::move(early_messages_); }
  const EarlyGoodbyes& left() const { return left_; }

 private:
  void note(const Status& status) {
    if (status_.is_ok()) status_ = status;
  }
  Status status_;
  EarlyMessages early_messages_;
  EarlyGoodbyes left_;
};

// As many slots as the pinned ones, each larger: a GPU is through with one sooner.
uint64_t device_piece_bytes(const CommOptions& options) {
  constexpr uint64_t kLarger = 2;
  return StagingMemory::kSlots * kLarger * options.staging_bytes;
}

class Starter {
 public:
  Starter(const CommStart& start, const std::atomic<bool>& abort) : start_(start), abort_(abort) {}
  Result<std::shared_ptr<Communicator>> run();

 private:
  using Blobs = std::vector<std::vector<std::byte>>;

  Status bootstrap();
  Status read_nodes();
  Status check_configuration() const;
  Status share_memory();
  Status agree();
  // What this rank knows and all have to hear: whether it is well, and the facts of the cost model.
  struct Facts {
    uint8_t direct = 0;
    uint8_t pad[7] = {};
    NetworkFacts network;
    uint64_t streaming_bytes = 0;
    SharedDeviceMemory device_piece;
    char error[240] = {};
  };
  Facts own_facts(const Status& shared) const;
  void take_device_piece();
  Status open_device_pieces(const std::vector<SharedDeviceMemory>& pieces);
  Result<Blobs> gather(uint64_t sequence, std::span<const std::byte> mine);
  std::vector<int> local_ranks() const;
  int most_local_ranks() const;

  const CommStart& start_;
  const std::atomic<bool>& abort_;
  CommParts parts_;
  StartSink sink_;
};

Status Starter::bootstrap() {
  BootstrapOptions options = start_.options.bootstrap;
  options.rank = start_.rank;
  options.ranks = start_.ranks;
  options.host_label = this_host_name();
  const std::vector<std::byte> info = pack(own_node_info(start_.options, start_.engine->rails()));
  RAILCCL_ASSIGN(parts_.control, connect_bootstrap(start_.ids, options, info, abort_));
  return Status::ok();
}

Status Starter::read_nodes() {
  for (int rank = 0; rank < start_.ranks; ++rank) {
    auto info = unpack_node_info(parts_.control->info(rank));
    if (!info) return info.error().with_context(fmt::format("rank {}", rank));
    parts_.nodes.push_back(std::move(*info));
  }
  parts_.layout = std::make_shared<const Layout>(
      make_layout(number_nodes(parts_.nodes, start_.options.ranks_per_node)));
  return check_configuration();
}

Status Starter::check_configuration() const {
  for (int rank = 0; rank < start_.ranks; ++rank) {
    const NodeInfo& info = parts_.nodes[static_cast<size_t>(rank)];
    if (info.configuration == start_.options.configuration) continue;
    return error(
        Code::kInvalidUsage,
        "rank {} on {} and rank {} on {} have different settings; RAILCCL_ALGO, EAGER_BYTES, "
        "SCRATCH_BYTES, BUFFSIZE, PIECE_BYTES, STAGING_BYTES, PIPELINE_DEPTH, CROSS_NIC, "
        "RANKS_PER_NODE, the "
        "numbers of channels, RETUNE, netName and the content of SCHEDULE_FILE must be the same on "
        "all "
        "ranks (compare the output of railccl_info --env)",
        start_.rank, this_host_name(), rank, info.host);
  }
  return Status::ok();
}

std::vector<int> Starter::local_ranks() const {
  const int node = parts_.layout->node_of[static_cast<size_t>(start_.rank)];
  return parts_.layout->ranks_of[static_cast<size_t>(node)];
}

int Starter::most_local_ranks() const {
  size_t most = 1;
  for (const auto& ranks : parts_.layout->ranks_of) most = std::max(most, ranks.size());
  return static_cast<int>(most);
}

// The lowest rank of each node makes the segment; its name reaches the others by a gather.
Status Starter::share_memory() {
  const std::vector<int> ranks = local_ranks();
  parts_.scratch_skip = p2p_scratch_bytes(most_local_ranks());
  const LocalDomainOptions options{
      .index = parts_.layout->local_index[static_cast<size_t>(start_.rank)],
      .ranks = ranks,
      .scratch_bytes = parts_.scratch_skip + start_.options.scratch_bytes};
  Status made;
  LocalSegmentName name;
  if (ranks.size() == 1) {
    RAILCCL_ASSIGN(parts_.scratch, MappedMemory::anonymous(start_.options.scratch_bytes));
  } else if (options.index == 0) {
    auto local = LocalDomain::create(options);
    if (local) {
      parts_.local = std::move(*local);
      name = parts_.local->name();
    } else {
      made = local.error();
    }
  }
  RAILCCL_ASSIGN(const Blobs names,
                 gather(1, {reinterpret_cast<const std::byte*>(&name), sizeof name}));
  if (ranks.size() > 1 && options.index != 0) {
    const auto& blob = names[static_cast<size_t>(ranks[0])];
    if (blob.size() != sizeof name) return error(Code::kPeerFailed, "segment name does not parse");
    std::memcpy(&name, blob.data(), sizeof name);
    auto local = LocalDomain::attach(options, name);
    if (local) {
      parts_.local = std::move(*local);
    } else {
      made = local.error();
    }
  }
  return made;
}

// Where it cannot be had, calls on memory of GPUs go through the host's.
void Starter::take_device_piece() {
  if (start_.device == nullptr || !start_.options.device_peers) return;
  if (parts_.layout->nodes() > 1 || start_.ranks > kMostDeviceOperands) return;
  auto domain = DeviceDomain::create(start_.device, device_piece_bytes(start_.options));
  if (!domain) {
    RAILCCL_WARN(Subsys::kInit, "rank {}: GPU {}: {}", start_.rank, start_.device->ordinal(),
                 domain.error().message());
    return;
  }
  parts_.device = std::move(*domain);
}

// Of all ranks or of none: if one of them cannot, all hear of it.
Status Starter::open_device_pieces(const std::vector<SharedDeviceMemory>& pieces) {
  const auto lacks = [](const SharedDeviceMemory& piece) { return piece.pid == 0; };
  if (std::ranges::any_of(pieces, lacks)) {
    parts_.device.reset();
    return Status::ok();
  }
  const Status opened = parts_.device->open(pieces, static_cast<size_t>(start_.rank));
  if (!opened) {
    RAILCCL_INFO(Subsys::kInit, "rank {}: memory of other GPUs goes through the host's: {}",
                 start_.rank, opened.message());
  }
  const std::byte mine{opened.is_ok()};
  RAILCCL_ASSIGN(const Blobs answers, gather(3, {&mine, 1}));
  const auto is_no = [](const auto& blob) { return blob.size() != 1 || blob[0] == std::byte{0}; };
  if (std::ranges::any_of(answers, is_no)) parts_.device.reset();
  return Status::ok();
}

Starter::Facts Starter::own_facts(const Status& shared) const {
  Facts facts;
  const bool one_process =
      std::all_of(parts_.nodes.begin(), parts_.nodes.end(),
                  [](const NodeInfo& node) { return node.pid == static_cast<uint32_t>(getpid()); });
  facts.direct = parts_.local == nullptr || one_process ||
                 (parts_.local->can_attach() && start_.options.attach_memory);
  std::vector<RailInfo> rails;
  for (const Rail* rail : start_.engine->rails()) rails.push_back(rail->info());
  facts.network = supposed_network(rails);
  facts.network.bytes_per_second /= static_cast<double>(local_ranks().size());
  facts.streaming_bytes = start_.options.topology
                              ? start_.options.topology->shape().cache_bytes_per_core
                              : MachineShape{}.cache_bytes_per_core;
  if (parts_.device) facts.device_piece = parts_.device->own();
  const std::string_view message = shared.message().substr(0, sizeof facts.error - 1);
  std::copy(message.begin(), message.end(), facts.error);
  return facts;
}

// All ranks hear of every rank's failure, and take the same view of the machine.
Status Starter::agree() {
  Status shared = share_memory();
  const TimeNs deadline = system_clock().now_ns() + start_.options.bootstrap.rank_timeout_ns;
  while (shared && parts_.local != nullptr) {
    const Result<bool> settled = parts_.local->settle();
    if (!settled) shared = settled.error();
    if (!settled || *settled) break;
    if (system_clock().now_ns() > deadline) {
      shared = error(Code::kTimeout, "not every rank of the node came to the shared memory");
    }
    parts_.control->progress(system_clock().now_ns(), sink_);
    if (!sink_.status()) return sink_.status();
    usleep(50);
  }
  take_device_piece();
  const Facts mine = own_facts(shared);
  RAILCCL_ASSIGN(const Blobs blobs,
                 gather(2, {reinterpret_cast<const std::byte*>(&mine), sizeof mine}));
  parts_.direct = true;
  MachineModel& machine = parts_.machine;
  machine.network_bytes_per_second = mine.network.bytes_per_second;
  machine.network_latency_s = mine.network.latency_s;
  machine.network_put_s = mine.network.put_s;
  machine.streaming_bytes = mine.streaming_bytes;
  machine.eager_bytes = start_.options.eager_bytes;
  std::vector<SharedDeviceMemory> device_pieces;
  for (int rank = 0; rank < start_.ranks; ++rank) {
    Facts facts;
    const auto& blob = blobs[static_cast<size_t>(rank)];
    if (blob.size() != sizeof facts)
      return error(Code::kPeerFailed, "facts of rank {} do not parse", rank);
    std::memcpy(&facts, blob.data(), sizeof facts);
    facts.error[sizeof facts.error - 1] = 0;
    if (facts.error[0] != 0) {
      return error(Code::kSystemError, "rank {} on {}: {}", rank,
                   parts_.nodes[static_cast<size_t>(rank)].host, facts.error);
    }
    parts_.direct = parts_.direct && facts.direct != 0;
    parts_.network_rates.push_back(facts.network.bytes_per_second);
    device_pieces.push_back(facts.device_piece);
    machine.network_bytes_per_second =
        std::min(machine.network_bytes_per_second, facts.network.bytes_per_second);
    machine.network_latency_s = std::max(machine.network_latency_s, facts.network.latency_s);
    machine.network_put_s = std::max(machine.network_put_s, facts.network.put_s);
    machine.streaming_bytes = std::min(machine.streaming_bytes, facts.streaming_bytes);
  }
  return open_device_pieces(device_pieces);
}

Result<Starter::Blobs> Starter::gather(uint64_t sequence, std::span<const std::byte> mine) {
  RAILCCL_TRY(parts_.control->begin_gather(sequence, mine));
  const TimeNs deadline = system_clock().now_ns() + start_.options.bootstrap.rank_timeout_ns;
  for (;;) {
    const TimeNs now = system_clock().now_ns();
    parts_.control->progress(now, sink_);
    if (const Blobs* blobs = parts_.control->poll_gather(sequence)) return *blobs;
    RAILCCL_TRY(sink_.status());
    if (abort_.load()) return error(Code::kAborted, "the start was aborted");
    if (now > deadline) {
      return error(Code::kTimeout,
                   "rank {}: other ranks stopped during the start of the communicator",
                   start_.rank);
    }
    pollfd wake{.fd = parts_.control->wake_fd(), .events = POLLIN, .revents = 0};
    poll(&wake, 1, 20);
  }
}

Result<std::shared_ptr<Communicator>> Starter::run() {
  parts_.options = start_.options;
  parts_.engine = start_.engine;
  parts_.id = public_hash(start_.ids);
  parts_.name = start_.name.empty() ? fmt::format("{:08x}", parts_.id >> 32) : start_.name;
  parts_.trace_source = add_trace_source(parts_.id, start_.rank);
  parts_.outputs = start_.outputs;
  parts_.roots = static_cast<int>(start_.ids.size());
  RAILCCL_TRY(bootstrap());
  RAILCCL_TRY(read_nodes());
  RAILCCL_TRY(agree());
  RAILCCL_INFO(Subsys::kInit, "communicator {}: rank {} of {} on {}, {} nodes, {} rails, {} memory",
               parts_.name, start_.rank, start_.ranks, this_host_name(), parts_.layout->nodes(),
               start_.engine->rails().size(), parts_.direct ? "direct" : "staged");
  parts_.early_messages = sink_.take_early_messages();
  parts_.early_error = sink_.status();
  parts_.early_goodbyes = sink_.left();
  RAILCCL_ASSIGN(auto communicator, Communicator::create(std::move(parts_)));
  if (start_.outputs.explain != nullptr) start_.outputs.explain->update(*communicator);
  return communicator;
}

}  // namespace

Result<std::shared_ptr<Communicator>> start_communicator(const CommStart& start,
                                                         const std::atomic<bool>& abort) {
  auto communicator = Starter(start, abort).run();
  if (!communicator) {
    return Error(communicator.error().with_context(
        fmt::format("rank {} of {} could not start", start.rank, start.ranks)));
  }
  return communicator;
}

}  // namespace railccl
