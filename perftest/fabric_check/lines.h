// How rank 0 tells the other ranks what to do and hears what came of it: JSON documents over a
// communicator of all ranks that is used for nothing else. One thread.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "perftest/fabric_check/session.h"

namespace railccl::perftest::fabric {

using Json = nlohmann::json;

// A document on its way between this rank and another; the memory stays until the library is done
// with it.
class Transfer {
 public:
  static Outcome<std::unique_ptr<Transfer>> send(ncclComm_t comm, int peer, const Json& document);
  static Outcome<std::unique_ptr<Transfer>> receive(ncclComm_t comm, int peer);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // True: done. Does not wait.
  Outcome<bool> poll();
  // Of a receive that is done.
  Outcome<Json> document() const;

 private:
  Transfer(ncclComm_t comm, int peer, bool sends) : comm_(comm), peer_(peer), sends_(sends) {}
  Outcome<void> issue(void* data, size_t bytes);

  ncclComm_t comm_;
  int peer_;
  bool sends_;
  bool has_length_ = false;
  uint64_t length_ = 0;
  std::vector<char> text_;
  railcclStream_t stream_ = nullptr;
};

// Rank 0's side.
class Lines {
 public:
  explicit Lines(ncclComm_t comm) : comm_(comm) {}
  // Ends the communicator when something is still under way.
  ~Lines();
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  Outcome<void> tell(int rank, const Json& command);

  struct Answers {
    std::map<int, Json> by_rank;
    std::vector<int> silent;  // were told and have not answered
    std::string why;          // of the silence: the deadline, or what the library says
  };
  // The answers of all that were told since; each has one. Once one of them tells of trouble (an
  // "error", or "trouble"), the others have `grace` left: who is silent then is its likely cause.
  Answers collect(Deadline until, Seconds grace);

 private:
  ncclComm_t comm_;
  std::vector<std::unique_ptr<Transfer>> commands_;
  std::map<int, std::unique_ptr<Transfer>> awaited_;  // by rank
};

// The others' side: the next command from rank 0; an answer to it.
Outcome<Json> await_command(ncclComm_t comm, Deadline until);
Outcome<void> answer(ncclComm_t comm, const Json& document, Deadline until);

}  // namespace railccl::perftest::fabric
