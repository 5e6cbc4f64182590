#include "perftest/rail_perf/wire.h"

#include <algorithm>
#include <bit>

#include "src/core/message.h"
#include "transport/byte_io.h"

namespace railccl::perftest::railperf {
namespace {

constexpr size_t kMaxTextBytes = 2048;
constexpr uint32_t kMaxRails = 64;
constexpr uint32_t kMaxLinks = 64;

wire::ByteWriter begin(Kind kind) {
  wire::ByteWriter writer;
  writer.write(static_cast<uint8_t>(kind));
  return writer;
}

void write_text(wire::ByteWriter& writer, const std::string& text) {
  const size_t bytes = std::min(text.size(), kMaxTextBytes);
  writer.write(static_cast<uint32_t>(bytes));
  writer.write_bytes(std::as_bytes(std::span(text.data(), bytes)));
}

std::string read_text(wire::ByteReader& reader) {
  const auto bytes = reader.read<uint32_t>();
  if (bytes > kMaxTextBytes) return "";  // the fields after it will not fit
  const std::vector<std::byte> text = reader.read_bytes(bytes);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

Error malformed(const char* what) {
  return error(Code::kPeerFailed, "{} of the other node does not parse: it runs another version",
               what);
}

}  // namespace

std::vector<std::byte> encode(const NodeSide& side) {
  wire::ByteWriter writer = begin(Kind::kHello);
  write_text(writer, side.host);
  writer.write(static_cast<uint32_t>(side.rails.size()));
  for (const RailSide& rail : side.rails) {
    write_text(writer, rail.name);
    write_text(writer, rail.transport);
    write_text(writer, rail.address);
    writer.write(rail.bytes_per_second);
  }
  return writer.take();
}

Result<NodeSide> decode_hello(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  NodeSide side;
  side.host = read_text(reader);
  const auto rails = reader.read<uint32_t>();
  if (rails > kMaxRails) return malformed("the list of rails");
  for (uint32_t i = 0; i < rails; ++i) {
    RailSide rail;
    rail.name = read_text(reader);
    rail.transport = read_text(reader);
    rail.address = read_text(reader);
    rail.bytes_per_second = reader.read<uint64_t>();
    side.rails.push_back(std::move(rail));
  }
  if (!reader.at_end()) return malformed("the list of rails");
  return side;
}

std::vector<std::byte> encode(const Order& order) {
  wire::ByteWriter writer = begin(Kind::kOrder);
  writer.write(static_cast<uint8_t>(order.task));
  writer.write(order.link);
  for (const uint64_t value :
       {order.bytes, order.window, order.iterations, order.time_ns, order.seed}) {
    writer.write(value);
  }
  writer.write(static_cast<uint32_t>(order.links.size()));
  for (const uint32_t pairs : order.links) writer.write(pairs);
  return writer.take();
}

Result<Order> decode_order(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  const auto task = reader.read<uint8_t>();
  if (task == 0 || task > kTasks) return malformed("an order");
  Order order{.task = static_cast<Task>(task), .link = reader.read<uint32_t>()};
  for (uint64_t* value :
       {&order.bytes, &order.window, &order.iterations, &order.time_ns, &order.seed}) {
    *value = reader.read<uint64_t>();
  }
  const auto links = reader.read<uint32_t>();
  if (links > kMaxLinks) return malformed("an order");
  for (uint32_t i = 0; i < links; ++i) order.links.push_back(reader.read<uint32_t>());
  if (!reader.at_end()) return malformed("an order");
  return order;
}

std::vector<std::byte> encode(const Answer& answer) {
  wire::ByteWriter writer = begin(Kind::kReport);
  writer.write(static_cast<uint8_t>(answer.task));
  write_text(writer, answer.error);
  writer.write(answer.puts);
  writer.write(answer.elapsed_ns);
  writer.write(std::bit_cast<uint64_t>(answer.peak_puts_per_second));
  writer.write(answer.wrong);
  write_text(writer, answer.first_mistake);
  return writer.take();
}

Result<Answer> decode_answer(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  const auto task = reader.read<uint8_t>();
  if (task == 0 || task > kTasks) return malformed("a report");
  Answer answer{.task = static_cast<Task>(task), .error = read_text(reader)};
  answer.puts = reader.read<uint64_t>();
  answer.elapsed_ns = reader.read<uint64_t>();
  answer.peak_puts_per_second = std::bit_cast<double>(reader.read<uint64_t>());
  answer.wrong = reader.read<uint64_t>();
  answer.first_mistake = read_text(reader);
  if (!reader.at_end()) return malformed("a report");
  return answer;
}

std::vector<std::byte> encode(uint32_t link, const LinkOffer& offer) {
  const std::vector<std::byte> target = pack(offer.target);
  wire::ByteWriter writer = begin(Kind::kOffer);
  writer.write(link);
  writer.write(static_cast<uint32_t>(target.size()));
  writer.write_bytes(target);
  writer.write_bytes(offer.address);
  return writer.take();
}

Result<LinkOffer> decode_offer(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  const auto length = reader.read<uint32_t>();
  const std::vector<std::byte> target = reader.read_bytes(length);
  if (!reader.ok()) return malformed("the offer of a link");
  LinkOffer offer;
  RAILCCL_ASSIGN(offer.target, unpack_remote_buffer(target));
  offer.address = reader.read_bytes(reader.left());
  return offer;
}

std::vector<std::byte> encode(uint32_t link, std::span<const std::byte> frame) {
  wire::ByteWriter writer = begin(Kind::kForLink);
  writer.write(link);
  writer.write_bytes(frame);
  return writer.take();
}

}  // namespace railccl::perftest::railperf
