// Fuzz targets: what comes over the connections of the bootstrap, before and after the proof of the
// key.
#include <algorithm>
#include <cstring>

#include "src/core/bootstrap_frames.h"
#include "src/core/control_path_records.h"
#include "src/core/framing.h"
#include "src/core/handshake.h"
#include "src/core/node_info.h"
#include "src/core/unique_id.h"
#include "tests/fuzz/sockets.h"

namespace railccl::fuzz {
namespace {

constexpr int kRanks = 100;
constexpr boot::Key kKey{1, 2, 3};

void records(Bytes payload) {
  if (const auto join = boot::unpack_join(payload)) (void)boot::pack(*join);
  (void)boot::unpack_parent(payload);
  require(!boot::unpack_failed(payload).is_ok(), "a failure that is none");
  if (const auto gone = boot::unpack_gone(payload, kRanks)) {
    require(gone->rank >= 0 && gone->rank < kRanks, "a rank that is none is gone");
  }
  if (const auto failure = boot::unpack_failure(payload, kRanks)) {
    require(failure->origin >= 0 && failure->origin < kRanks, "a rank that is none failed");
  }
  if (const auto goodbyes = boot::unpack_goodbyes(payload, kRanks)) {
    const auto is_rank = [](const boot::Goodbye& one) {
      return one.rank >= 0 && one.rank < kRanks;
    };
    require(std::ranges::all_of(*goodbyes, is_rank), "a rank that is none said goodbye");
  }
  (void)unpack_node_info(payload).has_value();
}

// Reads all that is there; false when the stream has ended.
bool read_all(boot::FrameStream& stream) {
  while (true) {
    const auto more = stream.read_some();
    if (!more) return false;
    if (!*more) return true;
  }
}

}  // namespace

void bootstrap_frames(Bytes input) {
  records(input);
  UniqueIdBytes bytes{};
  std::memcpy(bytes.data(), input.data(), std::min(input.size(), bytes.size()));
  if (const auto parsed = boot::unpack_unique_id(bytes)) (void)boot::address_text(*parsed);
  SocketPair sockets = sockets_with(input);
  boot::FrameStream stream(std::move(sockets.here));
  (void)read_all(stream);
  while (true) {
    const auto frame = stream.next_frame();
    if (!frame || !*frame) return;
    require((*frame)->payload.size() <= boot::kMaxFrameBytes, "a frame beyond the limit");
    records((*frame)->payload);
  }
}

// Without the key nobody gets through, whatever he says.
void bootstrap_handshake(Bytes input) {
  SocketPair to_acceptor = sockets_with(input);
  boot::FrameStream accepting(std::move(to_acceptor.here));
  boot::AcceptorHandshake acceptor(kKey);
  (void)read_all(accepting);
  for (int step = 0; step < 4; ++step) {
    const auto proven = acceptor.step(accepting);
    require(!proven || !*proven, "a stranger was accepted");
    if (!proven) break;
  }
  SocketPair to_connector = sockets_with(input);
  boot::FrameStream connecting(std::move(to_connector.here));
  boot::ConnectorHandshake connector(kKey, {.from = 1, .to = boot::kToRoot, .ranks = kRanks});
  connector.start(connecting);
  (void)read_all(connecting);
  for (int step = 0; step < 4; ++step) {
    const auto verdict = connector.step(connecting);
    require(!verdict || !verdict->has_value(), "a stranger was taken for the acceptor");
    if (!verdict) break;
  }
}

}  // namespace railccl::fuzz
