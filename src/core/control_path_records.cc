#include "src/core/control_path_records.h"

#include <algorithm>

#include "src/core/framing.h"
#include "transport/byte_io.h"

namespace railccl::boot {
namespace {

constexpr size_t kRunBytes = 17;
constexpr size_t kRunsPerFrame = kMaxFrameBytes / kRunBytes;

Error malformed(std::string_view what) {
  return error(Code::kPeerFailed, "malformed {} record", what);
}

void write_text(wire::ByteWriter& writer, std::string_view text) {
  text = text.substr(0, kMaxRecordText);
  writer.write<uint16_t>(static_cast<uint16_t>(text.size()));
  writer.write_bytes(std::as_bytes(std::span(text)));
}

std::string read_text(wire::ByteReader& reader) {
  const auto bytes = reader.read_bytes(std::min<size_t>(reader.read<uint16_t>(), kMaxRecordText));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_rank(uint32_t value, int ranks) { return value < static_cast<uint32_t>(ranks); }

}  // namespace

std::vector<std::byte> pack(const GoneRecord& record) {
  wire::ByteWriter writer;
  writer.write<uint32_t>(static_cast<uint32_t>(record.rank));
  writer.write<uint32_t>(static_cast<uint32_t>(record.noticed_by));
  writer.write<uint8_t>(static_cast<uint8_t>(record.kind));
  write_text(writer, record.text);
  return writer.take();
}

Result<GoneRecord> unpack_gone(std::span<const std::byte> payload, int ranks) {
  wire::ByteReader reader(payload);
  const auto rank = reader.read<uint32_t>();
  const auto noticed_by = reader.read<uint32_t>();
  const auto kind = reader.read<uint8_t>();
  std::string text = read_text(reader);
  if (!reader.at_end() || !is_rank(rank, ranks) || !is_rank(noticed_by, ranks) || kind < 1 ||
      kind > 2) {
    return malformed("gone");
  }
  return GoneRecord{.rank = static_cast<int>(rank),
                    .kind = static_cast<GoneRecord::Kind>(kind),
                    .noticed_by = static_cast<int>(noticed_by),
                    .text = std::move(text)};
}

std::vector<std::byte> pack(const FailureRecord& record) {
  wire::ByteWriter writer;
  writer.write<uint32_t>(static_cast<uint32_t>(record.origin));
  writer.write<uint8_t>(static_cast<uint8_t>(record.status.code()));
  write_text(writer, record.status.message());
  return writer.take();
}

Result<FailureRecord> unpack_failure(std::span<const std::byte> payload, int ranks) {
  wire::ByteReader reader(payload);
  const auto origin = reader.read<uint32_t>();
  const auto code = reader.read<uint8_t>();
  std::string text = read_text(reader);
  if (!reader.at_end() || !is_rank(origin, ranks) || code == 0 ||
      code > static_cast<uint8_t>(Code::kAborted)) {
    return malformed("failure");
  }
  return FailureRecord{.origin = static_cast<int>(origin),
                       .status = Status(static_cast<Code>(code), std::move(text))};
}

std::vector<std::vector<std::byte>> pack_goodbyes(std::vector<Goodbye> goodbyes) {
  std::sort(goodbyes.begin(), goodbyes.end(),
            [](const Goodbye& a, const Goodbye& b) { return a.rank < b.rank; });
  std::vector<std::vector<std::byte>> frames;
  wire::ByteWriter writer;
  size_t runs = 0;
  for (size_t i = 0; i < goodbyes.size();) {
    size_t end = i + 1;
    while (end < goodbyes.size() && goodbyes[end].rank <= goodbyes[end - 1].rank + 1 &&
           goodbyes[end].departure == goodbyes[i].departure) {
      ++end;
    }
    writer.write<uint32_t>(static_cast<uint32_t>(goodbyes[i].rank));
    writer.write<uint32_t>(static_cast<uint32_t>(goodbyes[end - 1].rank));
    writer.write<uint64_t>(goodbyes[i].departure.operations);
    writer.write<uint8_t>(goodbyes[i].departure.at_exit ? 1 : 0);
    i = end;
    if (++runs < kRunsPerFrame && i < goodbyes.size()) continue;
    frames.push_back(writer.take());
    writer = wire::ByteWriter();
    runs = 0;
  }
  return frames;
}

Result<std::vector<Goodbye>> unpack_goodbyes(std::span<const std::byte> payload, int ranks) {
  wire::ByteReader reader(payload);
  std::vector<Goodbye> result;
  int64_t previous = -1;  // ascending, so that no more than `ranks` numbers can come out
  while (reader.left() > 0) {
    const auto first = reader.read<uint32_t>();
    const auto last = reader.read<uint32_t>();
    const auto operations = reader.read<uint64_t>();
    const auto at_exit = reader.read<uint8_t>();
    if (!reader.ok() || first <= previous || last < first || !is_rank(last, ranks) || at_exit > 1) {
      return malformed("goodbye");
    }
    previous = last;
    for (uint32_t rank = first; rank <= last; ++rank) {
      result.push_back({.rank = static_cast<int>(rank),
                        .departure = {.operations = operations, .at_exit = at_exit == 1}});
    }
  }
  return result;
}

}  // namespace railccl::boot
