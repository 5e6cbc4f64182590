#include "src/core/local_peer_memory.h"

#include <sys/stat.h>

#include <cerrno>

namespace railccl {
namespace {

const HeapTrailer& trailer_of(const SharedMapping& memory) {
  return *reinterpret_cast<const HeapTrailer*>(memory.data() + memory.size() - kPageBytes);
}

Error stale(uint32_t pid) {
  return error(Code::kInvalidUsage,
               "a buffer of process {} was freed (ncclMemFree) while a rank of its node still had "
               "to use it",
               pid);
}

Result<SharedMapping> open_heap_segment(uint32_t pid, uint64_t segment) {
  RAILCCL_ASSIGN(UniqueFd file,
                 open_memory_file(pid, heap_fd(segment), "memory from ncclMemAlloc"));
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return system_error(errno, "fstat of shared memory");
  const auto bytes = static_cast<size_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || bytes <= kPageBytes || bytes % kPageBytes != 0) {
    return stale(pid);
  }
  RAILCCL_ASSIGN(SharedMapping memory, SharedMapping::map(file, bytes));
  const HeapTrailer& trailer = trailer_of(memory);
  const bool right = trailer.magic == kHeapMagic && trailer.segment == segment &&
                     trailer.pid == pid && trailer.data_bytes == bytes - kPageBytes;
  if (!right) return stale(pid);
  return memory;
}

}  // namespace

const HeapTrailer& LocalPeerMemory::Segment::trailer() const { return trailer_of(memory); }

Result<std::byte*> LocalPeerMemory::map(const BufferHandle& handle) {
  const HeapPlace place{.pid = handle.pid, .segment = handle.segment, .offset = handle.offset};
  if (std::byte* const own = own_heap_address(place, handle.bytes)) return own;
  if (handle.pid == current_pid()) return stale(handle.pid);
  RAILCCL_ASSIGN(Segment * segment, find_or_open({handle.pid, handle.segment}));
  const uint64_t size = segment->trailer().data_bytes;
  if (handle.offset > size || handle.bytes > size - handle.offset) {
    return error(Code::kInternalError, "{} bytes at {} are outside a segment of {} bytes",
                 handle.bytes, handle.offset, size);
  }
  return segment->memory.data() + handle.offset;
}

Result<LocalPeerMemory::Segment*> LocalPeerMemory::find_or_open(const Name& name) {
  if (last_ == nullptr || last_->name != name) {
    auto found = segments_.find(name);
    if (found == segments_.end()) {
      drop_freed();
      RAILCCL_ASSIGN(SharedMapping memory, open_heap_segment(name.first, name.second));
      found = segments_.emplace(name, Segment{.name = name, .memory = std::move(memory)}).first;
    }
    last_ = &found->second;
  }
  if (last_->trailer().freed.load(std::memory_order_acquire) == 0) return last_;
  drop_freed();
  return stale(name.first);
}

void LocalPeerMemory::drop_freed() {
  std::erase_if(segments_, [](const auto& entry) {
    return entry.second.trailer().freed.load(std::memory_order_acquire) != 0;
  });
  last_ = nullptr;
}

}  // namespace railccl
