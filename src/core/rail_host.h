// The rails of a process as communicators use them: all of them, by index, and where the events of
// their endpoints go. The engine is one; a simulation of many ranks in one thread has one per rank.
//
// Threading: under the driver lock of whoever drives the rails.
#pragma once

#include <cstdint>
#include <span>

#include "src/base/clock.h"
#include "transport/rail.h"

namespace railccl {

// Where a rail's events for one link go.
class EndpointEventSink {
 public:
  virtual ~EndpointEventSink() = default;
  virtual void on_endpoint_event(int pair, const RailEvent& event, TimeNs now) = 0;
  virtual void on_port_event(int local_rail, const RailEvent& event, TimeNs now) = 0;
};

class RailHost {
 public:
  virtual ~RailHost() = default;
  // Rails are set for the life of the host.
  virtual std::span<Rail* const> rails() const = 0;
  // Tags base .. base + 255 belong to the sink until removed.
  virtual uint64_t add_endpoint_sink(EndpointEventSink* sink) = 0;
  virtual void remove_endpoint_sink(uint64_t tag_base) = 0;
};

}  // namespace railccl
