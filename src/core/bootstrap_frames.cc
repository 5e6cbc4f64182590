#include "src/core/bootstrap_frames.h"

#include "src/core/control_path_records.h"
#include "transport/byte_io.h"

namespace railccl::boot {
namespace {

constexpr size_t kMaxHost = 64;

}  // namespace

std::vector<std::byte> pack(const JoinRecord& record) {
  wire::ByteWriter writer;
  writer.write<uint32_t>(record.roots);
  writer.write<uint32_t>(record.root);
  record.address.pack(writer);
  writer.write<uint32_t>(record.pid);
  const std::string_view host = std::string_view(record.host).substr(0, kMaxHost);
  writer.write_bytes(std::as_bytes(std::span(host)));
  return writer.take();
}

Result<JoinRecord> unpack_join(std::span<const std::byte> payload) {
  wire::ByteReader reader(payload);
  JoinRecord record;
  record.roots = reader.read<uint32_t>();
  record.root = reader.read<uint32_t>();
  RAILCCL_ASSIGN(record.address, SocketAddress::unpack(reader));
  record.pid = reader.read<uint32_t>();
  if (!reader.ok() || reader.left() > kMaxHost) {
    return error(Code::kPeerFailed, "malformed join record");
  }
  const std::vector<std::byte> host = reader.read_bytes(reader.left());
  record.host.assign(reinterpret_cast<const char*>(host.data()), host.size());
  return record;
}

std::vector<std::byte> pack_parent(const SocketAddress& address) {
  wire::ByteWriter writer;
  address.pack(writer);
  return writer.take();
}

Result<SocketAddress> unpack_parent(std::span<const std::byte> payload) {
  wire::ByteReader reader(payload);
  return SocketAddress::unpack(reader);
}

std::vector<std::byte> pack_failed(const Status& status) {
  return pack(FailureRecord{.origin = 0, .status = status});
}

Status unpack_failed(std::span<const std::byte> payload) {
  Result<FailureRecord> record = unpack_failure(payload, 1);
  return record ? record->status : record.error();
}

}  // namespace railccl::boot
