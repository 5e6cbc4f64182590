#include "algorithms/exchange.h"

namespace railccl::algorithms {

void chain_broadcast(Builder& b, const Group& chain, const Extent& extent, uint64_t slot,
                     const GroupData& data) {
  const uint64_t count = extent.part.count;
  const bool first = chain.me == 0;
  const bool last = chain.me == chain.size() - 1;
  const int previous = first ? kSelf : chain.at(chain.me - 1);
  const int next = last ? kSelf : chain.at(chain.me + 1);
  const bool lands_in_output = first || b.lands_in_output(previous);
  const bool put_to_output = last || b.lands_in_output(next);
  const Slice place = data.landing(extent);
  const Slice received = b.scratch(chain.lands_in_output ? 0 : b.allocate(slot));

  Slice from = place;
  Slices results = data.results(extent);
  if (first) {
    from = data.sources(extent)[0];
    if (from.owner != kSelf) {  // only own memory can be put
      b.copy(results, from, count);
      results.clear();
      from = place;
    }
  } else {
    b.wait(previous, Phase::kGather);
    if (!lands_in_output) from = received;
  }
  if (!last) {
    if (!put_to_output) b.wait_released_by(next);
    b.put(next, from, put_to_output ? place : received, count, Phase::kGather);
  }
  b.copy(results, from, count);
  if (!lands_in_output) b.release_to(previous);
}

void chain_reduce(Builder& b, const Group& chain, const Extent& extent, uint64_t slot,
                  const GroupData& data) {
  const uint64_t count = extent.part.count;
  const bool root = chain.me == 0;
  const bool farthest = chain.me == chain.size() - 1;
  const Slice partial = b.scratch(chain.size() > 1 ? b.allocate(slot) : 0);
  Slices sources = data.sources(extent);
  Slice from = partial;
  if (!farthest) {
    const int farther = chain.at(chain.me + 1);
    b.wait(farther, Phase::kReduce);
    sources.insert(sources.begin(), partial);
  }
  if (root) {
    b.reduce(data.results(extent), sources, count, true);
  } else {
    const int nearer = chain.at(chain.me - 1);
    if (sources.size() == 1 && sources[0].owner == kSelf) {
      from = sources[0];
    } else {
      b.reduce({from}, sources, count, false);
    }
    b.wait_released_by(nearer);
    b.put(nearer, from, partial, count, Phase::kReduce);
  }
  if (!farthest) b.release_to(chain.at(chain.me + 1));
}

}  // namespace railccl::algorithms
