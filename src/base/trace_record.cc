#include "src/base/trace_record.h"

#include <array>

namespace railccl {
namespace {

using Info = TraceKindInfo;
using enum TraceKindInfo::Phase;

// In the order of TraceKind.
constexpr std::array<Info, kTraceKinds> kKinds = {{
    {"operation begin", "operation", kBegin, "sequence", "bytes"},
    {"operation end", "operation", kEnd, "sequence", "code"},
    {"operation", "", kInstant, "sequence", ""},
    {"ready", "", kInstant, "sequence", ""},
    {"step begin", "step", kBegin, "step", "bytes"},
    {"step end", "step", kEnd, "step", "bytes"},
    {"wait begin", "wait", kBegin, "step", ""},
    {"wait end", "wait", kEnd, "step", ""},
    {"put posted", "put", kBegin, "token", "bytes"},
    {"put done", "put", kEnd, "token", "code"},
    {"chunk posted", "chunk", kBegin, "chunk", "bytes"},
    {"chunk delivered", "chunk", kEnd, "chunk", "bytes"},
    {"chunk replayed", "", kInstant, "chunk", "bytes"},
    {"arrived", "", kInstant, "tag", "bytes"},
    {"rail state", "", kInstant, "state", "epoch"},
    {"fence begin", "fence", kBegin, "epoch", ""},
    {"fence end", "fence", kEnd, "epoch", "landed_bytes"},
    {"stall", "", kInstant, "stall_ns", "operations"},
    {"register", "", kInstant, "bytes", "took_ns"},
    {"sleep begin", "sleep", kBegin, "", ""},
    {"sleep end", "sleep", kEnd, "", ""},
    {"peer lost", "", kInstant, "code", ""},
    {"error", "", kInstant, "code", ""},
    {"predicted", "", kInstant, "sequence", "predicted_ns"},
    {"rail picture", "", kInstant, "version", "operation"},
    {"mark", "", kInstant, "a", "b"},
}};
static_assert(!kKinds.back().name.empty(), "a kind of event has no row");

}  // namespace

const TraceKindInfo& trace_kind_info(TraceKind kind) {
  const auto index = static_cast<size_t>(kind);
  return kKinds[index < kKinds.size() ? index : kKinds.size() - 1];
}

std::string_view trace_kind_name(TraceKind kind) { return trace_kind_info(kind).name; }

}  // namespace railccl
