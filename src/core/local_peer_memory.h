// The shared heap, others' side: mappings of heap segments of other processes, kept from first use
// until the owner frees them.
//
// Threading: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "src/base/status.h"
#include "src/core/local_domain.h"
#include "src/core/local_heap.h"
#include "src/core/local_memory_file.h"

namespace railccl {

class LocalPeerMemory {
 public:
  // `handle.kind` is kShared. An error names the process and the cause.
  Result<std::byte*> map(const BufferHandle& handle);
  size_t mapped_segments() const { return segments_.size(); }

 private:
  using Name = std::pair<uint32_t, uint64_t>;  // pid, segment
  struct Segment {
    Name name;
    SharedMapping memory;
    const HeapTrailer& trailer() const;
  };
  Result<Segment*> find_or_open(const Name& name);
  void drop_freed();

  std::map<Name, Segment> segments_;
  Segment* last_ = nullptr;  // used
};

}  // namespace railccl
