// Little-endian fields to and from bytes. The reader never goes beyond its span: after the first
// field that is not there everything reads as zero and ok() is false. Pure; any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace railccl::wire {

static_assert(std::endian::native == std::endian::little,
              "the wire formats are written for little-endian hosts");

class ByteWriter {
 public:
  template <typename T>
  void write(T value) {
    static_assert(std::is_unsigned_v<T>);
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }
  void write_bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  T read() {
    static_assert(std::is_unsigned_v<T>);
    T value = 0;
    if (rest_.size() < sizeof(T)) {
      fail();
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  // Written as 0 or 1; anything else is malformed.
  bool read_flag() {
    const auto value = read<uint8_t>();
    if (value > 1) fail();
    return value == 1;
  }
  std::vector<std::byte> read_bytes(size_t bytes) {
    if (rest_.size() < bytes) {
      fail();
      return {};
    }
    std::vector<std::byte> value(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(bytes));
    rest_ = rest_.subspan(bytes);
    return value;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }
  size_t left() const { return rest_.size(); }
  // What was read is malformed.
  void fail() {
    ok_ = false;
    rest_ = {};
  }

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace railccl::wire
