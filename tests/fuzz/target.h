// The fuzz targets: each gives arbitrary bytes to parsers of what strangers, peers or users send.
// A target may refuse them, never crash, hang, or read beyond them. One thread.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace railccl::fuzz {

using Bytes = std::span<const std::byte>;

void link_wire(Bytes input);   // notes, frames and addresses of links; messages of the core
void tcp_frames(Bytes input);  // what comes over the sockets of a TCP rail
void bootstrap_frames(Bytes input);
void bootstrap_handshake(Bytes input);
void schedule_file(Bytes input);
void settings(Bytes input);

inline std::string_view as_text(Bytes input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

// Ends the process: what must hold for every input did not.
void require(bool condition, const char* what);

}  // namespace railccl::fuzz
