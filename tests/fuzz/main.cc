// One program with all targets: fuzz --target=NAME [libFuzzer's options] [corpus folders].
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tests/fuzz/target.h"

namespace railccl::fuzz {
namespace {

struct Named {
  std::string_view name;
  void (*run)(Bytes input);
};
constexpr std::array kTargets = {
    Named{"link_wire", link_wire},
    Named{"tcp_frames", tcp_frames},
    Named{"bootstrap_frames", bootstrap_frames},
    Named{"bootstrap_handshake", bootstrap_handshake},
    Named{"schedule_file", schedule_file},
    Named{"settings", settings},
};
constexpr std::string_view kOption = "--target=";

const Named* chosen = nullptr;

int choose(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (!word.starts_with(kOption)) continue;
    for (const Named& target : kTargets) {
      if (word.substr(kOption.size()) == target.name) chosen = &target;
    }
  }
  if (chosen != nullptr) return 0;
  std::fprintf(stderr, "fuzz: wanted --target= and one of:");
  for (const Named& target : kTargets) std::fprintf(stderr, " %s", target.name.data());
  std::fprintf(stderr, "\n");
  std::exit(1);
}

}  // namespace

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

}  // namespace railccl::fuzz

extern "C" int LLVMFuzzerInitialize(int* count, char*** words) {
  return railccl::fuzz::choose(*count, *words);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  railccl::fuzz::chosen->run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
