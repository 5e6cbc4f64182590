// A stand-in for the library in the tests of the perftest programs: the nccl* and railccl* calls
// that they make, for ranks that are threads of one process, done in the plainest way (everyone
// waits for everyone, each rank computes its own result from all inputs). It shares no code with
// the library or with perftest, so a result that both agree on is right. Tests can spoil results
// and calls.
#pragma once

#include <railccl/railccl.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

namespace railccl::fake_nccl {

// Called by each rank's thread after each operation, with its receive buffer; what it returns is
// what the operation returns. Null: nothing.
using Hook =
    std::function<ncclResult_t(int rank, std::string_view call, std::span<std::byte> output)>;
void set_hook(Hook hook);
// For hooks that hang: waits until a communicator is revoked, then fails. A minute at most.
ncclResult_t wait_until_revoked();

// Operations done so far by all ranks of this process, and communicators that exist.
int operations();
int communicators();

}  // namespace railccl::fake_nccl
