#include "tests/transport/link_soak.h"

#include <algorithm>
#include <cstring>

#include "tests/transport/test_bytes.h"

namespace railccl::testing_support {
namespace {

constexpr uint8_t kReused = 0xEE;
constexpr uint8_t kReleased = 0x77;

// Token and tag of a put say direction, slot and number.
constexpr uint64_t name_of(int from, size_t slot, uint64_t put) {
  return static_cast<uint64_t>(from) << 56 | static_cast<uint64_t>(slot) << 48 | put;
}
constexpr size_t slot_in(uint64_t name) { return name >> 48 & 0xff; }
constexpr uint64_t put_in(uint64_t name) { return name & 0xffffffffffff; }

// As a block, see test_bytes.h.
void fill(std::span<std::byte> bytes, uint8_t value) {
  std::memset(bytes.data(), value, bytes.size());
}

}  // namespace

LinkSoak::LinkSoak(LinkWorld& world, const SoakOptions& options)
    : world_(world), options_(options), random_(options.seed) {
  for (int from = 0; from < 2; ++from) {
    Direction& direction = directions_[static_cast<size_t>(from)];
    direction.source = world.make_buffer(from, kSlots * options.largest_put);
    direction.target = world.make_buffer(1 - from, kSlots * options.largest_put);
    fill(direction.target->bytes, kReused);
    direction.puts_left = options.puts;
    direction.messages_left = options.messages;
    world.side(from).on_done = [this, from](uint64_t token) { on_done(from, token); };
    world.side(1 - from).on_tag = [this, from](uint64_t tag) { on_tag(from, tag); };
  }
}

std::span<std::byte> LinkSoak::slot_of(LinkBuffer& buffer, size_t slot) const {
  return std::span(buffer.bytes).subspan(slot * options_.largest_put, options_.largest_put);
}

size_t LinkSoak::random_size() {
  switch (random_() % 5) {
    case 0:
      return 0;
    case 1:
      return 1 + random_() % std::min<size_t>(3000, options_.largest_put);
    case 2:
      return 1 + random_() % std::min<size_t>(20'000, options_.largest_put);
    default:
      return 1 + random_() % options_.largest_put;
  }
}

void LinkSoak::begin_put(int from, size_t index) {
  Direction& direction = directions_[static_cast<size_t>(from)];
  Slot& slot = direction.slots[index];
  slot = {.put = direction.puts_made++, .bytes = random_size(), .busy = true};
  --direction.puts_left;
  const auto data = pattern(slot.bytes, slot.put * 2 + static_cast<uint64_t>(from));
  if (!data.empty())
    std::memcpy(slot_of(*direction.source, index).data(), data.data(), data.size());
  const uint64_t name = name_of(from, index, slot.put);
  const LinkPut put{.token = name,
                    .source = &direction.source->registered,
                    .source_offset = index * options_.largest_put,
                    .bytes = slot.bytes,
                    .target = &direction.target->remote,
                    .target_offset = index * options_.largest_put,
                    .tag = name};
  const Status status = world_.link(from).put(put, world_.now());
  EXPECT_TRUE(status.is_ok()) << status.message();
}

void LinkSoak::on_done(int from, uint64_t token) {
  Direction& direction = directions_[static_cast<size_t>(from)];
  Slot& slot = direction.slots[slot_in(token)];
  EXPECT_TRUE(slot.busy && !slot.released && slot.put == put_in(token)) << "done twice";
  EXPECT_TRUE(slot.announced) << "put " << slot.put << " is done before the peer has it";
  fill(slot_of(*direction.source, slot_in(token)), kReleased);
  slot.released = true;
}

void LinkSoak::on_tag(int from, uint64_t tag) {
  Direction& direction = directions_[static_cast<size_t>(from)];
  Slot& slot = direction.slots[slot_in(tag)];
  EXPECT_TRUE(slot.busy && !slot.announced && slot.put == put_in(tag)) << "announced twice";
  const auto target = slot_of(*direction.target, slot_in(tag));
  const auto data = pattern(slot.bytes, slot.put * 2 + static_cast<uint64_t>(from));
  EXPECT_TRUE(data.empty() || std::memcmp(data.data(), target.data(), data.size()) == 0)
      << "put " << slot.put << " of " << slot.bytes << " bytes from rank " << from
      << " has wrong bytes";
  EXPECT_TRUE(all_equal(target.subspan(slot.bytes), kReused))
      << "bytes beyond put " << slot.put << " were written";
  fill(target, kReused);
  slot.announced = true;
}

void LinkSoak::feed_messages(int from) {
  Direction& direction = directions_[static_cast<size_t>(from)];
  while (direction.messages_left > 0 && (!direction.unsent.empty() || random_() % 3 != 0)) {
    if (direction.unsent.empty()) {
      const size_t most = random_() % 4 == 0 ? kMaxMessageBytes : 200;
      direction.unsent = pattern(1 + random_() % most, random_());
    }
    const size_t cut = random_() % (direction.unsent.size() + 1);
    const auto whole = std::span<const std::byte>(direction.unsent);
    const Status status =
        world_.link(from).send(whole.first(cut), whole.subspan(cut), world_.now());
    if (status.code() == Code::kBackPressure) return;
    EXPECT_TRUE(status.is_ok()) << status.message();
    if (!status.is_ok()) return;
    direction.messages.push_back(std::move(direction.unsent));
    direction.unsent.clear();
    --direction.messages_left;
  }
}

void LinkSoak::feed(int from) {
  Direction& direction = directions_[static_cast<size_t>(from)];
  for (size_t i = 0; i < kSlots; ++i) {
    Slot& slot = direction.slots[i];
    if (slot.busy && slot.released && slot.announced) slot.busy = false;
    if (!slot.busy && direction.puts_left > 0 && random_() % 2 == 0) begin_put(from, i);
  }
  feed_messages(from);
}

bool LinkSoak::finished() const {
  for (size_t from = 0; from < 2; ++from) {
    const Direction& direction = directions_[from];
    if (direction.puts_left > 0 || direction.messages_left > 0) return false;
    for (const Slot& slot : direction.slots) {
      if (slot.busy && !(slot.released && slot.announced)) return false;
    }
    if (world_.side(1 - static_cast<int>(from)).messages.size() < direction.messages.size()) {
      return false;
    }
  }
  return true;
}

bool LinkSoak::run(TimeNs deadline) {
  const bool ended = world_.run_until(
      [&] {
        if (world_.side(0).failed + world_.side(1).failed > 0) return true;
        feed(0);
        feed(1);
        return finished();
      },
      deadline);
  EXPECT_TRUE(ended) << "did not end";
  EXPECT_EQ(world_.side(0).failed, 0) << world_.side(0).failure.message();
  EXPECT_EQ(world_.side(1).failed, 0) << world_.side(1).failure.message();
  return ended && finished();
}

void LinkSoak::check() {
  for (int from = 0; from < 2; ++from) {
    const Direction& direction = directions_[static_cast<size_t>(from)];
    EXPECT_EQ(world_.side(from).done.size(), static_cast<size_t>(options_.puts));
    EXPECT_EQ(world_.side(1 - from).notified.size(), static_cast<size_t>(options_.puts));
    for (const auto& [token, times] : world_.side(from).done) EXPECT_EQ(times, 1) << token;
    for (const auto& [tag, times] : world_.side(1 - from).notified) EXPECT_EQ(times, 1) << tag;
    EXPECT_TRUE(world_.side(from).done_with.empty());
    EXPECT_TRUE(world_.side(1 - from).messages == direction.messages)
        << "messages from rank " << from << " differ";
    EXPECT_TRUE(all_equal(direction.target->bytes, kReused))
        << "a buffer that was given back was written again";
  }
}

}  // namespace railccl::testing_support
