// One collective call as a value, and its fingerprint: what all ranks must agree on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/types.h"
#include "src/compute/compute.h"

namespace railccl {

// What ranks compare before they touch data; 16 bytes, travels in every ready and small-data
// message.
struct Fingerprint {
  uint64_t kind = 0;   // collective, type, operator, root
  uint64_t count = 0;  // elements
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// The same in 64 bits, for calls of few elements (small collectives): | root 20 | count 20 | kind
// 24 |
constexpr uint64_t kSmallCountLimit = uint64_t{1} << 20;
uint64_t pack_small(const Fingerprint& fingerprint);
Fingerprint unpack_small(uint64_t packed);

struct Call {
  Collective collective = Collective::kAllReduce;
  DataType type = DataType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;
  uint64_t count = 0;  // as in Shape::block
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  std::array<std::byte, 8> scalar{};            // kPreMulSum: one element of `type`
  const std::byte* scalar_on_device = nullptr;  // not null: it lies there when the call begins
  bool more = false;                            // a part of the caller's call, and not the last one
  // Not null: input and output lie in this rank's piece of the device domain; this works on them.
  Compute* on_device = nullptr;

  size_t element() const { return element_bytes(type); }
  Fingerprint fingerprint() const;
};

// Whether each rank's input of a reduction is multiplied or divided before it is added to others.
bool scales_first(const Call& call);

// Bytes of the caller's buffers on one rank; 0 where the call has no such buffer there.
uint64_t input_bytes(const Call& call, int rank, int ranks);
uint64_t output_bytes(const Call& call, int rank, int ranks);

// "AllReduce(count 1024, float, sum)".
std::string to_string(const Fingerprint& fingerprint);

// One send or receive of a point-to-point group.
struct P2pTransfer {
  bool is_send = false;
  int peer = 0;
  std::byte* buffer = nullptr;  // read only when is_send
  uint64_t count = 0;
  DataType type = DataType::kFloat32;
  bool more = false;  // as in Call

  uint64_t bytes() const { return count * element_bytes(type); }
  Fingerprint fingerprint() const;
};

}  // namespace railccl
