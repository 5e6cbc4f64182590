#include "perftest/fabric_check/lines.h"

#include <algorithm>
#include <thread>

namespace railccl::perftest::fabric {
namespace {

constexpr std::chrono::milliseconds kPoll{1};
constexpr uint64_t kLongest = uint64_t{64} << 20;

Outcome<void> await(Transfer& transfer, Deadline until, std::string_view what) {
  while (true) {
    const auto done = transfer.poll();
    if (!done) return tl::unexpected(done.error());
    if (*done) return {};
    if (Clock::now() >= until) return failure(Exit::kTimeout, "{} within the time", what);
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace

Outcome<void> Transfer::issue(void* data, size_t bytes) {
  const ncclResult_t result = sends_ ? ncclSend(data, bytes, ncclUint8, peer_, comm_, stream_)
                                     : ncclRecv(data, bytes, ncclUint8, peer_, comm_, stream_);
  return check(sends_ ? "ncclSend" : "ncclRecv", result, comm_);
}

Outcome<std::unique_ptr<Transfer>> Transfer::send(ncclComm_t comm, int peer, const Json& document) {
  std::unique_ptr<Transfer> transfer(new Transfer(comm, peer, true));
  const std::string text = document.dump();
  transfer->text_.assign(text.begin(), text.end());
  transfer->length_ = text.size();
  transfer->has_length_ = true;
  PERFTEST_TRY(check("railcclStreamCreate", railcclStreamCreate(&transfer->stream_)));
  PERFTEST_TRY(transfer->issue(&transfer->length_, sizeof transfer->length_));
  PERFTEST_TRY(transfer->issue(transfer->text_.data(), transfer->text_.size()));
  return transfer;
}

Outcome<std::unique_ptr<Transfer>> Transfer::receive(ncclComm_t comm, int peer) {
  std::unique_ptr<Transfer> transfer(new Transfer(comm, peer, false));
  PERFTEST_TRY(check("railcclStreamCreate", railcclStreamCreate(&transfer->stream_)));
  PERFTEST_TRY(transfer->issue(&transfer->length_, sizeof transfer->length_));
  return transfer;
}

// Waits for what is under way: the communicator has ended, or was aborted, before.
Transfer::~Transfer() {
  if (stream_ != nullptr) static_cast<void>(railcclStreamDestroy(stream_));
}

Outcome<bool> Transfer::poll() {
  const ncclResult_t result = railcclStreamQuery(stream_);
  if (result == ncclInProgress) return false;
  PERFTEST_TRY(check(sends_ ? "ncclSend" : "ncclRecv", result, comm_));
  if (has_length_) return true;
  if (length_ > kLongest) {
    return failure(Exit::kLibrary, "rank {} announced {} bytes", peer_, length_);
  }
  has_length_ = true;
  text_.resize(length_);
  PERFTEST_TRY(issue(text_.data(), text_.size()));
  return false;
}

Outcome<Json> Transfer::document() const {
  Json document = Json::parse(text_.begin(), text_.end(), nullptr, false);
  if (document.is_discarded()) {
    return failure(Exit::kLibrary, "rank {} sent {} bytes that are no JSON", peer_, text_.size());
  }
  return document;
}

Lines::~Lines() {
  if (awaited_.empty() && commands_.empty()) return;
  static_cast<void>(ncclCommRevoke(comm_, NCCL_REVOKE_DEFAULT));
}

Outcome<void> Lines::tell(int rank, const Json& command) {
  auto sent = Transfer::send(comm_, rank, command);
  if (!sent) return tl::unexpected(sent.error());
  commands_.push_back(std::move(*sent));
  auto awaited = Transfer::receive(comm_, rank);
  if (!awaited) return tl::unexpected(awaited.error());
  awaited_[rank] = std::move(*awaited);
  return {};
}

namespace {

bool tells_of_trouble(const Json& answer) {
  if (!answer.is_object()) return true;
  const auto trouble = answer.find("trouble");
  return answer.contains("error") || (trouble != answer.end() && *trouble == true);
}

}  // namespace

Lines::Answers Lines::collect(Deadline until, Seconds grace) {
  Answers answers;
  const auto take = [&](auto& entry) {
    auto& [rank, transfer] = entry;
    const auto done = transfer->poll();
    if (!done) answers.why = done.error().message;
    if (!done || !*done) return false;
    const auto document = transfer->document();
    if (!document) answers.why = document.error().message;
    if (!document) return false;
    answers.by_rank[rank] = *document;
    if (tells_of_trouble(*document)) {
      until = std::min(until, Clock::now() + std::chrono::duration_cast<Clock::duration>(grace));
    }
    return true;
  };
  while (true) {
    std::erase_if(awaited_, take);
    if (awaited_.empty() || !answers.why.empty()) break;
    if (Clock::now() >= until) {
      answers.why = "no answer within the time";
      break;
    }
    std::this_thread::sleep_for(kPoll);
  }
  for (const auto& [rank, transfer] : awaited_) answers.silent.push_back(rank);
  std::erase_if(commands_, [](const auto& command) { return command->poll().value_or(false); });
  return answers;
}

Outcome<Json> await_command(ncclComm_t comm, Deadline until) {
  const auto transfer = Transfer::receive(comm, 0);
  if (!transfer) return tl::unexpected(transfer.error());
  const auto came = await(**transfer, until, "no command of rank 0");
  if (!came) {
    // The stream cannot end before the communicator does.
    static_cast<void>(ncclCommRevoke(comm, NCCL_REVOKE_DEFAULT));
    return tl::unexpected(came.error());
  }
  return (*transfer)->document();
}

Outcome<void> answer(ncclComm_t comm, const Json& document, Deadline until) {
  const auto transfer = Transfer::send(comm, 0, document);
  if (!transfer) return tl::unexpected(transfer.error());
  const auto went = await(**transfer, until, "rank 0 did not take an answer");
  if (!went) static_cast<void>(ncclCommRevoke(comm, NCCL_REVOKE_DEFAULT));
  return went;
}

}  // namespace railccl::perftest::fabric
