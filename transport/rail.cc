#include "transport/rail.h"

namespace railccl {

std::string_view transport_name(TransportKind kind) {
  switch (kind) {
    case TransportKind::kTcp:
      return "tcp";
    case TransportKind::kVerbs:
      return "verbs";
    case TransportKind::kUcx:
      return "ucx";
    case TransportKind::kSim:
      return "sim";
  }
  return "unknown";
}

}  // namespace railccl
