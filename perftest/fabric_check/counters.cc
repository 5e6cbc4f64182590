#include "perftest/fabric_check/counters.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace railccl::perftest::fabric {
namespace {

namespace fs = std::filesystem;

struct Known {
  std::string_view name;
  std::string_view meaning;
};

constexpr std::string_view kWire = "errors on the wire: cable, transceiver or port";
constexpr std::string_view kLost = "packets dropped: buffers too small, or congestion";
constexpr std::string_view kAgain = "packets lost and sent again";
constexpr std::string_view kCongested = "congestion control at work";
constexpr std::string_view kSlowReceiver = "the receiver was not ready in time";

// counters and hw_counters of an InfiniBand or RoCE port, and statistics of an interface.
constexpr Known kKnown[] = {
    {"symbol_error", kWire},
    {"link_error_recovery", "the link retrained: cable or transceiver"},
    {"link_downed", "the link went down"},
    {"local_link_integrity_errors", kWire},
    {"excessive_buffer_overrun_errors", kLost},
    {"port_rcv_errors", kWire},
    {"port_rcv_remote_physical_errors", "errors on the wire, seen earlier on the way"},
    {"port_rcv_switch_relay_errors", "a switch could not forward a packet"},
    {"port_xmit_discards", kLost},
    {"port_xmit_wait", "the port had data and was not allowed to send: congestion"},
    {"VL15_dropped", kLost},
    {"out_of_sequence", kAgain},
    {"packet_seq_err", kAgain},
    {"implied_nak_seq_err", kAgain},
    {"local_ack_timeout_err", "no acknowledgement in time: lost packets or a dead way"},
    {"rnr_nak_retry_err", kSlowReceiver},
    {"out_of_buffer", kSlowReceiver},
    {"duplicate_request", kAgain},
    {"rx_icrc_encapsulated", kWire},
    {"rx_icrc_err", kWire},
    {"np_cnp_sent", kCongested},
    {"np_ecn_marked_roce_packets", "packets marked by a congested switch (ECN)"},
    {"rp_cnp_handled", kCongested},
    {"rp_cnp_ignored", kCongested},
    {"roce_adp_retrans", kAgain},
    {"roce_adp_retrans_to", kAgain},
    {"roce_slow_restart", kAgain},
    {"req_cqe_error", "requests completed with an error"},
    {"resp_cqe_error", "answers completed with an error"},
    // rdma_rxe
    {"rcvd_seq_err", kAgain},
    {"retry_exceeded_err", "no acknowledgement after all retries"},
    {"retry_rnr_exceeded_err", kSlowReceiver},
    {"out_of_seq_request", kAgain},
    {"send_rnr_err", kSlowReceiver},
    {"completer_retry_err", kAgain},
    // Interfaces
    {"rx_errors", kWire},
    {"tx_errors", "packets that could not be sent"},
    {"rx_dropped", kLost},
    {"tx_dropped", kLost},
    {"rx_missed_errors", kLost},
    {"rx_fifo_errors", kLost},
    {"tx_fifo_errors", kLost},
    {"rx_over_errors", kLost},
    {"rx_crc_errors", kWire},
    {"rx_frame_errors", kWire},
    {"rx_length_errors", kWire},
    {"tx_carrier_errors", "the carrier was lost: cable or port"},
    {"collisions", "half duplex: the speed was negotiated wrongly"},
};

void read_folder(const fs::path& folder, const std::string& owner, Counters& counters) {
  for (const Known& known : kKnown) {
    std::ifstream file(folder / known.name);
    uint64_t value = 0;
    if (file >> value) counters[owner + " " + std::string(known.name)] = value;
  }
}

// "mlx5_0:1" is port 1 of mlx5_0.
std::pair<std::string, std::string> split_port(const std::string& name) {
  const size_t colon = name.rfind(':');
  if (colon == std::string::npos) return {name, "1"};
  return {name.substr(0, colon), name.substr(colon + 1)};
}

}  // namespace

Counters read_counters(const std::string& root, const Rail& rail) {
  Counters counters;
  const fs::path sys = fs::path(root) / "sys" / "class";
  const fs::path interfaces = sys / "net";
  if (rail.transport == "tcp") {
    read_folder(interfaces / rail.name / "statistics", rail.name, counters);
    return counters;
  }
  const auto [device, port] = split_port(rail.name);
  const fs::path port_folder = sys / "infiniband" / device / "ports" / port;
  const std::string owner = device + "/" + port;
  read_folder(port_folder / "counters", owner, counters);
  read_folder(port_folder / "hw_counters", owner, counters);
  std::error_code ignored;  // a device without an interface has no such folder
  for (const auto& entry :
       fs::directory_iterator(sys / "infiniband" / device / "device" / "net", ignored)) {
    const std::string interface = entry.path().filename();
    read_folder(interfaces / interface / "statistics", interface, counters);
  }
  return counters;
}

std::string_view counter_meaning(std::string_view name) {
  const auto* found = std::ranges::find(kKnown, name, &Known::name);
  return found == std::end(kKnown) ? std::string_view() : found->meaning;
}

std::vector<CounterChange> moved(int node, int rail, const Counters& before,
                                 const Counters& after) {
  std::vector<CounterChange> changes;
  for (const auto& [name, value] : after) {
    const auto old = before.find(name);
    if (old == before.end() || value <= old->second) continue;
    changes.push_back({.node = node,
                       .rail = rail,
                       .counter = name,
                       .meaning = std::string(counter_meaning(name.substr(name.rfind(' ') + 1))),
                       .before = old->second,
                       .after = value});
  }
  return changes;
}

}  // namespace railccl::perftest::fabric
