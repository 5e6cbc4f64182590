#include "src/core/unique_id.h"

#include <algorithm>
#include <cstring>

#include "transport/byte_io.h"

namespace railccl::boot {
namespace {

constexpr uint64_t kMagic = 0x44494c4343494152;  // "RAICCLID"
constexpr uint16_t kVersion = 1;
constexpr size_t kHostField = 96;

}  // namespace

UniqueIdBytes pack(const UniqueId& id) {
  wire::ByteWriter writer;
  writer.write<uint64_t>(kMagic);
  writer.write<uint16_t>(kVersion);
  writer.write<uint8_t>(id.ports);
  writer.write<uint8_t>(static_cast<uint8_t>(id.kind));
  writer.write<uint16_t>(id.port);
  writer.write<uint16_t>(0);
  writer.write_bytes(id.key);
  writer.write_bytes(std::as_bytes(std::span(id.host)));
  UniqueIdBytes bytes{};
  const std::vector<std::byte> packed = writer.take();
  std::copy_n(packed.begin(), std::min(packed.size(), bytes.size() - 1), bytes.begin());
  return bytes;
}

Result<UniqueId> unpack_unique_id(const UniqueIdBytes& bytes) {
  wire::ByteReader reader(bytes);
  const auto bad = [](std::string_view what) {
    return error(Code::kInvalidArgument,
                 "the unique id {}: pass the 128 bytes of ncclGetUniqueId unchanged from one rank "
                 "to all others",
                 what);
  };
  if (reader.read<uint64_t>() != kMagic) return bad("was not made by RailCCL");
  if (reader.read<uint16_t>() != kVersion) return bad("is of another version of RailCCL");
  UniqueId id;
  id.ports = reader.read<uint8_t>();
  const auto kind = reader.read<uint8_t>();
  id.port = reader.read<uint16_t>();
  const auto zero = reader.read<uint16_t>();
  const std::vector<std::byte> key = reader.read_bytes(id.key.size());
  std::copy(key.begin(), key.end(), id.key.begin());
  const std::vector<std::byte> host = reader.read_bytes(kHostField);
  const auto end = std::find(host.begin(), host.end(), std::byte{0});
  if (kind < 1 || kind > 2 || id.ports < 1 || id.port == 0 || zero != 0 ||
      id.port + id.ports - 1 > 65535 || end == host.begin() || end == host.end()) {
    return bad("is damaged");
  }
  id.kind = static_cast<UniqueId::Kind>(kind);
  id.host.assign(reinterpret_cast<const char*>(host.data()),
                 static_cast<size_t>(end - host.begin()));
  return id;
}

Key root_key(const UniqueId& id) { return derive_key("railccl root", id.key); }

Key session_key(std::span<const UniqueId> ids) {
  std::vector<std::byte> all;
  for (const UniqueId& id : ids) all.insert(all.end(), id.key.begin(), id.key.end());
  return derive_key("railccl session", all);
}

std::string address_text(const UniqueId& id) {
  const std::string host =
      id.host.find(':') == std::string::npos ? id.host : fmt::format("[{}]", id.host);
  if (id.ports == 1) return fmt::format("{}:{}", host, id.port);
  return fmt::format("{}:{}-{}", host, id.port, id.port + id.ports - 1);
}

}  // namespace railccl::boot
