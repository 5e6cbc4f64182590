// railccl_info: version, build, transports and devices of the library that is loaded; --env: every
// setting with its value.
#include <CLI/CLI.hpp>

#include "perftest/common/text_call.h"

namespace {

using railccl::perftest::Exit;
using railccl::perftest::text_of;

int show(bool settings, railcclFormat_t format) {
  const auto text =
      settings ? text_of("railcclSettings",
                         [&](char* buffer, size_t capacity, size_t* length) {
                           return railcclSettings(format, buffer, capacity, length);
                         })
               : text_of("railcclInfo", [&](char* buffer, size_t capacity, size_t* length) {
                   return railcclInfo(format, buffer, capacity, length);
                 });
  if (!text) {
    fmt::print(stderr, "railccl_info: {}\n", text.error().message);
    return static_cast<int>(text.error().exit);
  }
  fmt::print("{}{}", *text, text->ends_with('\n') ? "" : "\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("What this installation of RailCCL is and sees", "railccl_info");
  bool settings = false;
  bool json = false;
  app.add_flag("--env", settings, "every setting: name, default, value, meaning");
  app.add_flag("--json", json, "as JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(Exit::kUsage);
  }
  return show(settings, json ? railcclJson : railcclText);
}
