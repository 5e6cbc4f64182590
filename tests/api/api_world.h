// Ranks as threads of this process, on the real library: runs a function once per rank and joins.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "include/railccl/railccl.h"

namespace railccl::test {

struct RankOf {
  int rank = 0;
  int ranks = 1;
  ncclComm_t comm = nullptr;
};

// The communicator is destroyed after `body`; `body` may abort it and set comm to null.
inline void run_ranks(int ranks, const std::function<void(RankOf&)>& body) {
  ncclUniqueId id;
  if (ncclGetUniqueId(&id) != ncclSuccess) throw ncclGetLastError(nullptr);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      RankOf self{.rank = rank, .ranks = ranks};
      if (ncclCommInitRank(&self.comm, ranks, id, rank) != ncclSuccess) std::abort();
      body(self);
      ncclCommDestroy(self.comm);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace railccl::test
