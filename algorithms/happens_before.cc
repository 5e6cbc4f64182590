#include "algorithms/happens_before.h"

#include <algorithm>

namespace railccl::algorithms {

Clocks::Clocks(int ranks) : now_(static_cast<size_t>(ranks), 0) {
  const auto nothing =
      std::make_shared<std::vector<uint32_t>>(static_cast<size_t>(ranks), uint32_t{0});
  known_.assign(static_cast<size_t>(ranks), nothing);
}

void Clocks::receive(int rank, const Knowledge& message) {
  if (knows(rank, message.sent)) return;  // and with it all that the sender knew then
  auto& mine = known_[static_cast<size_t>(rank)];
  // A clock that a message still carries stays as it was.
  if (mine.use_count() > 1) mine = std::make_shared<std::vector<uint32_t>>(*mine);
  uint32_t* const known = mine->data();
  const uint32_t* const theirs = message.clock->data();
  for (size_t i = 0; i < mine->size(); ++i) known[i] = std::max(known[i], theirs[i]);
  uint32_t& of_sender = (*mine)[static_cast<size_t>(message.sent.rank)];
  of_sender = std::max(of_sender, message.sent.position + 1);
}

}  // namespace railccl::algorithms
