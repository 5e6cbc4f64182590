#include "src/core/call.h"

#include <fmt/format.h>

namespace railccl {
namespace {

constexpr uint64_t kMore = uint64_t{1} << 24;

// | 63..32 root | 24 more parts follow | 23..16 operator | 15..8 type | 7..0 collective |
uint64_t pack_kind(Collective collective, DataType type, ReduceOp op, int root) {
  return static_cast<uint64_t>(collective) | static_cast<uint64_t>(type) << 8 |
         static_cast<uint64_t>(op) << 16 | static_cast<uint64_t>(static_cast<uint32_t>(root)) << 32;
}

}  // namespace

Fingerprint Call::fingerprint() const {
  const ReduceOp compared_op = is_reduction(collective) ? op : ReduceOp::kSum;
  const int compared_root = is_rooted(collective) ? root : 0;
  return {pack_kind(collective, type, compared_op, compared_root) | (more ? kMore : 0), count};
}

// Narrow floats would overflow in the sum, so an average divides before it adds (docs/numerics.md).
bool scales_first(const Call& call) {
  const bool narrow = call.type == DataType::kFloat16 || call.type == DataType::kFloat8e4m3 ||
                      call.type == DataType::kFloat8e5m2;
  return call.op == ReduceOp::kPreMulSum || (call.op == ReduceOp::kAvg && narrow);
}

uint64_t pack_small(const Fingerprint& fingerprint) {
  const uint64_t root = fingerprint.kind >> 32;
  return (root & 0xfffff) << 44 | (fingerprint.count & 0xfffff) << 24 |
         (fingerprint.kind & 0xffffff);
}

Fingerprint unpack_small(uint64_t packed) {
  return {(packed & 0xffffff) | (packed >> 44) << 32, packed >> 24 & 0xfffff};
}

uint64_t input_bytes(const Call& call, int rank, int ranks) {
  const uint64_t block = call.count * call.element();
  switch (call.collective) {
    case Collective::kAllToAll:
    case Collective::kReduceScatter:
      return block * static_cast<uint64_t>(ranks);
    case Collective::kScatter:
      return rank == call.root ? block * static_cast<uint64_t>(ranks) : 0;
    case Collective::kBroadcast:
      return rank == call.root ? block : 0;
    default:
      return block;
  }
}

uint64_t output_bytes(const Call& call, int rank, int ranks) {
  const uint64_t block = call.count * call.element();
  switch (call.collective) {
    case Collective::kAllToAll:
    case Collective::kAllGather:
      return block * static_cast<uint64_t>(ranks);
    case Collective::kGather:
      return rank == call.root ? block * static_cast<uint64_t>(ranks) : 0;
    case Collective::kReduce:
      return rank == call.root ? block : 0;
    default:
      return block;
  }
}

std::string to_string(const Fingerprint& fingerprint) {
  const auto collective_number = fingerprint.kind & 0xff;
  const auto type_number = fingerprint.kind >> 8 & 0xff;
  const auto op_number = fingerprint.kind >> 16 & 0xff;
  if (collective_number >= kCollectives || type_number >= kDataTypes || op_number >= kReduceOps) {
    return fmt::format("unknown call {:#x}", fingerprint.kind);
  }
  const auto collective = static_cast<Collective>(collective_number);
  std::string text =
      fmt::format("{}(count {}{}, {}", collective_name(collective), fingerprint.count,
                  (fingerprint.kind & kMore) != 0 ? " of more" : "",
                  data_type_name(static_cast<DataType>(type_number)));
  if (is_reduction(collective)) {
    text += fmt::format(", {}", reduce_op_name(static_cast<ReduceOp>(op_number)));
  }
  if (is_rooted(collective)) text += fmt::format(", root {}", fingerprint.kind >> 32);
  return text + ")";
}

Fingerprint P2pTransfer::fingerprint() const {
  return {pack_kind(Collective::kSendRecv, type, ReduceOp::kSum, 0) | (more ? kMore : 0), count};
}

}  // namespace railccl
