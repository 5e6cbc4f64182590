// Ranks for the tests of the bootstrap and the control path: as threads of the test, or as forked
// processes that can be killed. All on the loopback interface.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/base/unique_fd.h"
#include "src/core/bootstrap.h"
#include "src/core/control_path.h"

namespace railccl::test {

constexpr TimeNs kPatience = 30 * kSecond;  // ends a test that would hang; no result depends on it

// Ready for rank `rank` of `ranks`.
BootstrapOptions loopback_options(int rank, int ranks);
UniqueIdBytes loopback_id(TimeNs rank_timeout_ns = kPatience);
// The blob that a rank gives; its length differs from rank to rank.
std::vector<std::byte> info_of(int rank);
std::vector<std::byte> bytes_of(std::string_view text);
std::string text_of(std::span<const std::byte> bytes);

using PathResult = Result<std::unique_ptr<ControlPath>>;
PathResult connect_rank(std::span<const UniqueIdBytes> ids, const BootstrapOptions& options);
// Every rank in a thread of its own.
std::vector<PathResult> connect_threads(std::span<const UniqueIdBytes> ids, int ranks,
                                        const std::function<void(BootstrapOptions&)>& adjust = {});
// The same, for tests in which all must succeed.
std::vector<std::unique_ptr<ControlPath>> world_of_threads(
    int ranks, const std::function<void(BootstrapOptions&)>& adjust = {});

// Remembers everything.
class RecordingSink : public ControlSink {
 public:
  void on_control_message(int peer, std::span<const std::byte> message) override;
  void on_peer_lost(int peer, const Status& status) override;
  void on_failure_announced(int origin, const Status& status) override;
  void on_peer_left(int peer, const Departure& departure) override { left[peer] = departure; }

  std::map<int, std::vector<std::string>> messages;
  std::map<int, std::string> lost;
  std::map<int, int> lost_count;
  std::map<int, Departure> left;
  std::vector<std::pair<int, Status>> failures;
};

// Drives several ranks of this thread in turn until `done`; false when kPatience is over.
struct Driven {
  ControlPath* path = nullptr;
  RecordingSink* sink = nullptr;
};
bool drive_until(const std::vector<Driven>& all, const std::function<bool()>& done);
bool drive_until(ControlPath& path, RecordingSink& sink, const std::function<bool()>& done);
// Goodbye on all of them; false when that does not end.
bool close_all(const std::vector<Driven>& all);

// A process that runs `body` and ends; what it returns comes back as text. Killed at the latest
// when the object dies.
class ForkedRank {
 public:
  // `pipe` of body: report(text) sends a line to the parent before the end.
  using Report = std::function<void(const std::string& line)>;
  explicit ForkedRank(const std::function<void(const Report& report)>& body);
  ~ForkedRank();
  ForkedRank(const ForkedRank&) = delete;
  ForkedRank& operator=(const ForkedRank&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  // The next line; empty when the process has ended or kPatience is over.
  std::string next_line();

 private:
  pid_t pid_ = -1;
  UniqueFd read_;
  std::string buffer_;
};

// An id whose root runs in a process of its own: what is forked after it is forked by a process
// without threads (the address sanitizer's heap may be locked by one of them).
class ForkedRoot {
 public:
  ForkedRoot();
  const UniqueIdBytes& id() const { return id_; }

 private:
  ForkedRank process_;
  UniqueIdBytes id_{};
};

}  // namespace railccl::test
