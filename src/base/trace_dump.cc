#include "src/base/trace_dump.h"

#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <iterator>
#include <nlohmann/json.hpp>

#include "src/base/path_pattern.h"
#include "src/base/write_file.h"

namespace railccl {
namespace {

using Buffer = fmt::memory_buffer;
using Json = nlohmann::json;

std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <typename... Args>
void append(Buffer& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

// Nanoseconds as microseconds with three decimals: exact, unlike a double after some months.
std::string microseconds(TimeNs time, int64_t offset) {
  const auto shifted = static_cast<int64_t>(time) + offset;
  const uint64_t magnitude =
      shifted < 0 ? ~static_cast<uint64_t>(shifted) + 1 : static_cast<uint64_t>(shifted);
  return fmt::format("{}{}.{:03}", shifted < 0 ? "-" : "", magnitude / 1000, magnitude % 1000);
}

void append_step(Buffer& out, uint64_t packed) {
  append(out, ",\"sequence\":{},\"slot\":{},\"step\":{}", packed >> 32, packed >> 24 & 0xff,
         packed & 0xffffff);
}

void append_arguments(Buffer& out, const TraceRecord& record, const TraceKindInfo& info) {
  append(out, "\"args\":{{\"kind\":\"{}\"", info.name);
  if (record.peer >= 0) append(out, ",\"peer\":{}", record.peer);
  if (record.rail >= 0) append(out, ",\"rail\":{}", record.rail);
  if (info.a_name == "step") {
    append_step(out, record.a);
  } else if (!info.a_name.empty()) {
    append(out, ",\"{}\":{}", info.a_name, record.a);
  }
  const bool operation = record.kind == TraceKind::kOperationBegin;
  const uint64_t b = operation ? trace_operation_bytes(record.b) : record.b;
  if (!info.b_name.empty()) append(out, ",\"{}\":{}", info.b_name, b);
  append(out, "}}");
}

// What the timeline shows: the collective for operations, else the span or the event.
std::string_view shown_name(const TraceRecord& record, const TraceKindInfo& info) {
  if (record.kind == TraceKind::kOperationBegin) {
    return collective_name(trace_operation_collective(record.b));
  }
  return info.span.empty() ? info.name : info.span;
}

void append_event(Buffer& out, const TraceRecord& record, int thread_id, int64_t offset) {
  const TraceKindInfo& info = trace_kind_info(record.kind);
  append(out, ",\n{{\"pid\":{},\"tid\":{},\"ts\":{},\"name\":\"{}\",", record.source, thread_id,
         microseconds(record.time_ns, offset), shown_name(record, info));
  if (info.phase == TraceKindInfo::Phase::kInstant) {
    append(out, "\"ph\":\"i\",\"s\":\"t\",");
  } else {
    // Spans that carry no number of their own are one at a time per thread.
    const uint64_t id = info.a_name.empty() ? static_cast<uint64_t>(thread_id) : record.a;
    append(out, "\"ph\":\"{}\",\"cat\":\"{}\",\"id2\":{{\"local\":\"{:#x}\"}},",
           info.phase == TraceKindInfo::Phase::kBegin ? 'b' : 'e', info.span, id);
  }
  append_arguments(out, record, info);
  append(out, "}}");
}

// A short operation is one record and two events, as if it had been a long one.
void append_record(Buffer& out, const TraceRecord& record, int thread_id, int64_t offset) {
  if (record.kind != TraceKind::kOperation) {
    append_event(out, record, thread_id, offset);
    return;
  }
  TraceRecord begin = record;
  begin.kind = TraceKind::kOperationBegin;
  begin.b =
      trace_operation(trace_operation_collective(record.b), trace_short_operation_bytes(record.b));
  append_event(out, begin, thread_id, offset);
  TraceRecord end = record;
  end.kind = TraceKind::kOperationEnd;
  end.time_ns += trace_short_operation_ns(record.b);
  end.b = 0;
  append_event(out, end, thread_id, offset);
}

void append_names(Buffer& out, const TraceCapture& capture) {
  const auto& sources = capture.sources;
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string name =
        i == 0 ? "process"
               : fmt::format("rank {} of {:#x}", sources[i].rank, sources[i].communicator);
    append(out,
           "{}{{\"ph\":\"M\",\"pid\":{},\"name\":\"process_name\",\"args\":{{\"name\":\"{}\"}}}}",
           i == 0 ? "\n" : ",\n", i, name);
    for (const TraceThread& thread : capture.threads) {
      append(out,
             ",\n{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":\"thread_name\","
             "\"args\":{{\"name\":{}}}}}",
             i, thread.thread_id, quoted(thread.name));
    }
  }
}

TimeNs realtime_now_ns() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<TimeNs>(time.tv_sec) * kSecond + static_cast<TimeNs>(time.tv_nsec);
}

void append_other_data(Buffer& out, const TraceCapture& capture) {
  uint64_t lost = 0;
  for (const TraceThread& thread : capture.threads) lost += thread.snapshot.lost;
  append(out,
         "\"otherData\":{{\"host\":{},\"process_id\":{},\"monotonic_ns\":{},\"realtime_ns\":{},"
         "\"clock_offset_ns\":{},\"lost_records\":{},\"sources\":[",
         quoted(capture.host), capture.process_id, capture.monotonic_ns, capture.realtime_ns,
         capture.clock_offset_ns, lost);
  const char* separator = "";
  for (const TraceSourceInfo& source : capture.sources) {
    append(out, "{}{{\"communicator\":\"{:#x}\",\"rank\":{}}}", separator, source.communicator,
           source.rank);
    separator = ",";
  }
  append(out, "]}}");
}

}  // namespace

TraceCapture capture_trace(int64_t clock_offset_ns) {
  return {.threads = trace_snapshot(),
          .sources = trace_sources(),
          .host = host_name(),
          .process_id = getpid(),
          .monotonic_ns = system_clock().now_ns(),
          .realtime_ns = realtime_now_ns(),
          .clock_offset_ns = clock_offset_ns};
}

std::string chrome_trace_json(const TraceCapture& capture) {
  Buffer out;
  append(out, "{{\"displayTimeUnit\":\"ns\",");
  append_other_data(out, capture);
  append(out, ",\n\"traceEvents\":[");
  append_names(out, capture);
  for (const TraceThread& thread : capture.threads) {
    for (const TraceRecord& record : thread.snapshot.records) {
      append_record(out, record, thread.thread_id, capture.clock_offset_ns);
    }
  }
  append(out, "\n]}}\n");
  return fmt::to_string(out);
}

Status dump_trace(const std::string& path, int64_t clock_offset_ns) {
  return write_file(path, chrome_trace_json(capture_trace(clock_offset_ns)));
}

}  // namespace railccl
