// What ranks tell each other on the control path, as frames. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/core/control_path.h"

namespace railccl::boot {

enum class ControlFrame : uint16_t {
  kKeepAlive = 0,
  kMessage = 1,  // the user's bytes
  kGone = 2,
  kFailure = 3,
  kGoodbye = 4,
  kGather = 5,  // control_path_gather.h
};

constexpr size_t kMaxRecordText = 1024;  // longer texts are cut

struct GoneRecord {
  enum class Kind : uint8_t {
    kLost = 1,  // died, vanished, or does not answer
    kLeft = 2,  // had said goodbye
  };
  int rank = 0;
  Kind kind = Kind::kLost;
  int noticed_by = 0;
  std::string text;  // the whole message, names the rank
};
std::vector<std::byte> pack(const GoneRecord& record);
Result<GoneRecord> unpack_gone(std::span<const std::byte> payload, int ranks);

struct FailureRecord {
  int origin = 0;
  Status status;
};
std::vector<std::byte> pack(const FailureRecord& record);
Result<FailureRecord> unpack_failure(std::span<const std::byte> payload, int ranks);

struct Goodbye {
  int rank = 0;
  Departure departure;
};
// As runs first..last of ranks that have left in the same way; what does not fit into one frame is
// cut into several.
std::vector<std::vector<std::byte>> pack_goodbyes(std::vector<Goodbye> goodbyes);
Result<std::vector<Goodbye>> unpack_goodbyes(std::span<const std::byte> payload, int ranks);

}  // namespace railccl::boot
