#include "perftest/fabric_check/wire.h"

#include <charconv>
#include <cstring>

namespace railccl::perftest::fabric {

void to_json(Json& json, PairState state) { json = static_cast<int>(state); }

void from_json(const Json& json, PairState& state) {
  const auto number = json.is_number_integer() ? json.get<int64_t>() : -1;
  if (number < 0 || number > static_cast<int>(PairState::kFailed)) {
    throw Json::out_of_range::create(401, fmt::format("{} is no state of a pair", json.dump()),
                                     &json);
  }
  state = static_cast<PairState>(number);
}

Json id_as_json(const ncclUniqueId& id) {
  std::string text;
  for (const char byte : id.internal) {
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return text;
}

Outcome<ncclUniqueId> id_from_json(const Json& json) {
  ncclUniqueId id;
  const auto* text = json.get_ptr<const std::string*>();
  if (text == nullptr || text->size() != 2 * sizeof id.internal) {
    return failure(Exit::kLibrary, "a command without an id");
  }
  for (size_t i = 0; i < sizeof id.internal; ++i) {
    unsigned value = 0;
    const char* digits = text->data() + 2 * i;
    if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) {
      return failure(Exit::kLibrary, "an id that is not hexadecimal");
    }
    id.internal[i] = static_cast<char>(value);
  }
  return id;
}

Json as_answer(const Outcome<Json>& outcome) {
  if (outcome) return {{"ok", *outcome}};
  return {{"error", outcome.error().message}};
}

}  // namespace railccl::perftest::fabric
