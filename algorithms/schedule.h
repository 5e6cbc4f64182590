// A schedule is what one rank does in one collective, as data. It is made by a pure, total and
// deterministic function of (shape, rank), printed, cached, verified together with the schedules of
// all other ranks (algorithms/verifier.h), and run by the executor (src/core/executor.h).
//
// A schedule describes one *piece* of the data. The executor cuts the data into pieces and runs up
// to `depth` of them at a time, each with its own scratch slot; instructions of one piece run in
// program order, except that a put only starts there. Piece p of a channel starts when piece
// p - depth of this rank is complete: all its steps were executed and all its puts acknowledged.
//
// Memory model of the verifier: a put reads its source and writes its target at any moment between
// its issue and its end. Its end is before the matching wait at the peer returns, before the next
// `previous_lap` signal of the sender, and before the sender's piece is complete. Signals and waits
// order. What a rank does to a local peer's memory (`owner`) must be ordered before the owner's end
// by waits there. The beginning of a rank's operation (its buffers are there) is ordered before
// every access by others: the executor waits for the owner's ready message.
//
// All pieces of an operation have the same notifications (peer, tag, previous_lap), whatever their
// size: where a chunk is empty, a signal stands for the put.
//
// Pure: no I/O, clock, thread, environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/status.h"
#include "src/base/types.h"

namespace railccl {

// Which ranks share a node; nodes are numbered 0.. in order of their lowest rank, and ranks of a
// node need not be consecutive. Built once per communicator.
struct Layout {
  std::vector<int> node_of;                // by rank
  std::vector<int> local_index;            // by rank: position within its node
  std::vector<std::vector<int>> ranks_of;  // by node, ascending
  std::vector<int> order;                  // all ranks, node by node: neighbours share a node
  std::vector<int> position;               // by rank: index in `order`
  int ranks() const { return static_cast<int>(node_of.size()); }
  int nodes() const { return static_cast<int>(ranks_of.size()); }
  bool same_node(int a, int b) const {
    return node_of[static_cast<size_t>(a)] == node_of[static_cast<size_t>(b)];
  }
};
// `node_ids[r]`: any value, equal for ranks of one node.
Layout make_layout(const std::vector<int>& node_ids);

enum class BufferId : uint8_t {
  kInput,    // the caller's send buffer
  kOutput,   // the caller's receive buffer (the same memory as kInput when in place)
  kScratch,  // this piece's scratch slot of the rank, `Schedule::scratch_elements` long; peers may
             // put into it, local peers load and store it
};

constexpr int kSelf = -1;

// `count` elements of a buffer. `owner` is kSelf, or a rank of the same node whose memory is loaded
// or stored directly. Offsets into kInput and kOutput are for a piece that begins at element 0: the
// executor adds the piece's first element. Offsets into kScratch are within the slot.
struct Slice {
  int owner = kSelf;
  BufferId buffer = BufferId::kInput;
  uint64_t offset = 0;  // elements
};

enum class StepKind : uint8_t {
  kPut,     // srcs[0] of self -> dsts[0] at `peer` (both owners kSelf: each side's own memory),
            // then notification `tag` there
  kSignal,  // notification `tag` at `peer`, no data
  kWait,    // until notification `tag` from `peer`
  kReduce,  // every dst = srcs[0] op srcs[1] op ... (in this order)
  kCopy,    // every dst = srcs[0]
};

struct Step {
  StepKind kind = StepKind::kCopy;
  int peer = kSelf;  // kPut, kSignal, kWait
  uint32_t tag = 0;  // below kMaxTags, unique per (sender, receiver) within a piece
  // kSignal and kWait: a credit from piece p - depth to piece p, saying that a scratch slot may be
  // written again. The signal (of the earlier piece) is sent when all puts issued before it in its
  // piece are acknowledged; the wait (of the later piece) is skipped by pieces below depth. A
  // signal that no piece will wait for is left out or collected at the end, on all ranks alike.
  bool previous_lap = false;
  // kReduce only: the result has every rank's contribution, so an average is scaled here. A kCopy
  // or kPut of single-rank data is never final.
  bool final = false;
  uint64_t count = 0;        // elements; never 0 except kSignal and kWait
  uint32_t first_slice = 0;  // in Schedule::slices: num_dsts destinations, then num_srcs sources
  uint16_t num_dsts = 0;
  uint16_t num_srcs = 0;
};

constexpr uint32_t kMaxTags = uint32_t{1} << 20;

struct Schedule {
  std::vector<Step> steps;
  std::vector<Slice> slices;
  uint64_t scratch_elements = 0;  // per piece
};

// Everything that a schedule depends on, besides the rank.
struct Shape {
  Collective collective = Collective::kAllReduce;
  std::shared_ptr<const Layout> layout;
  int root = 0;
  // Elements of the call as NCCL counts them: AllReduce, Broadcast, Reduce: the whole; AllGather:
  // each rank's input; ReduceScatter: each rank's output; AlltoAll, Gather, Scatter: per pair of
  // ranks. It is the stride between blocks in the larger buffer.
  uint64_t block = 0;
  // Elements of each block in this piece; 0 < piece <= block (0 = nothing to do: an empty
  // schedule).
  uint64_t piece = 0;
  // The largest piece of the operation; scratch is laid out for it, so that a shorter last piece
  // agrees with the one before it about who uses what. 0: `piece`.
  uint64_t max_piece = 0;
  bool in_place = false;  // of this rank; of the others it is not known
  // The input and output of every rank can be loaded and stored by the ranks of its node. If false,
  // only kScratch of local peers may be used as a slice's owner != kSelf.
  bool direct = false;
  int channel =
      0;  // this channel of `channels`; channels split by pieces except where an algorithm says so
  int channels = 1;
};

// What an algorithm declares, for a piece that splits evenly; the verifier checks it, the tuner
// uses it. Amounts are means over the algorithm's channels (a rank that forwards in one tree is a
// leaf of the other) of the rank that has most; credits (previous_lap) do not count.
struct Cost {
  uint32_t latency_steps_inter =
      0;  // messages between nodes one after another, per piece, critical path
  uint32_t latency_steps_local = 0;  // the same inside a node
  double bytes_sent_inter =
      0;  // per element of `piece`: most elements any rank puts to other nodes
  double path_elements_inter =
      0;  // elements put to other nodes one after another, critical path; where more than the above
  double largest_put = 0;  // elements, per element of `piece`, of any put to another node
  double bytes_sent_local =
      0;  // elements that any rank puts or stores to, or loads from, local peers
  double elements_reduced = 0;  // most elements any rank combines (sources - 1 per element)
  double scratch = 0;           // scratch elements per element of `piece`
};

struct Algorithm {
  std::string_view name;  // "ring", "tree", "hierarchical", "doubling", "bruck", "direct", "local"
  Collective collective;
  // Empty: it can run this shape. Otherwise why not. generate and cost are for shapes it can run.
  std::string (*unsuitable)(const Shape& shape);
  Schedule (*generate)(const Shape& shape, int rank);
  Cost (*cost)(const Shape& shape);
  // Preferred number of channels (double binary tree: 2, each with a tree of its own).
  int channels;
};

// Every verified algorithm, by collective, in the order in which ties are broken.
const std::vector<Algorithm>& catalog();
const Algorithm* find_algorithm(Collective collective, std::string_view name);

// One line per step, for people and for diffs.
std::string to_string(const Schedule& schedule);

}  // namespace railccl
