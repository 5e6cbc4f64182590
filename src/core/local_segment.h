// The shared memory segment of a local domain. Index 0 creates it, the others open it through the
// creator's /proc/<pid>/fd and believe it only if it holds the token they were sent. Ranks that are
// threads of one process share one mapping. Any thread.
#pragma once

#include <memory>
#include <span>

#include "src/base/status.h"
#include "src/core/local_domain.h"
#include "src/core/local_layout.h"
#include "src/core/local_memory_file.h"

namespace railccl {

class LocalSegment {
 public:
  static Result<std::shared_ptr<LocalSegment>> create(int ranks, size_t scratch_bytes);
  // The segment must be one for `ranks` ranks with that much scratch each.
  static Result<std::shared_ptr<LocalSegment>> open(const LocalSegmentName& name, int ranks,
                                                    size_t scratch_bytes);

  // As this process has it open: others can open it by this name, too.
  LocalSegmentName name() const;
  const UniqueFd& file() const { return file_; }
  const SegmentLayout& layout() const { return layout_; }

  SegmentHeader& header() const { return *at<SegmentHeader>(0); }
  std::span<std::atomic<uint32_t>> doorbells() const;
  RankState& state(int rank) const;
  std::atomic<uint8_t>* hints(int receiver) const;
  NotificationRing& ring(int receiver, int sender) const;
  BoardSlot* board(int rank) const;
  SmallArea* small_area(int rank) const;
  std::byte* scratch(int rank) const;

 private:
  LocalSegment(UniqueFd file, SharedMapping memory, const SegmentLayout& layout)
      : file_(std::move(file)), memory_(std::move(memory)), layout_(layout) {}
  static Result<std::shared_ptr<LocalSegment>> open_other_process(const LocalSegmentName& name,
                                                                  const SegmentLayout& layout);
  Status check_shape(int ranks, size_t scratch_bytes) const;
  template <typename T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(memory_.data() + offset);
  }

  UniqueFd file_;
  SharedMapping memory_;
  SegmentLayout layout_;
};

}  // namespace railccl
