// Streams of host communicators: operations given to one stream run in order. One thread at a time
// per stream, any thread for the operations themselves.
#pragma once

#include <deque>
#include <memory>

#include "include/railccl/railccl.h"
#include "src/base/status.h"
#include "src/core/operation.h"

namespace railccl {

class HostStream {
 public:
  // Whether the handle was made by railcclStreamCreate. It must be one, or a stream of CUDA.
  static bool is_one(cudaStream_t stream);
  // Checks that the handle is a stream made by railcclStreamCreate; NULL gives null.
  static Result<HostStream*> from(cudaStream_t stream, std::string_view function);

  // Makes `operation` wait for the stream's last one, and the last one of the stream.
  void append(const std::shared_ptr<Operation>& operation);
  // kBackPressure: the timeout has passed. kNever: no timeout.
  Status wait(TimeNs timeout);
  // kBackPressure: not yet.
  Status query();

 private:
  static constexpr uint64_t kMagic = 0x5261696c43434c53;  // "RailCCLS"
  void collect();  // forgets what is done, remembers its first error

  uint64_t magic_ = kMagic;
  std::deque<std::shared_ptr<Operation>> operations_;
  Status first_error_;
};

}  // namespace railccl
