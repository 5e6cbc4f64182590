#include "tests/core/bootstrap_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace railccl::test {
namespace {

TimeNs now() { return system_clock().now_ns(); }

}  // namespace

BootstrapOptions loopback_options(int rank, int ranks) {
  BootstrapOptions options;
  options.rank = rank;
  options.ranks = ranks;
  options.rank_timeout_ns = kPatience;
  options.silence_timeout_ns = kPatience;
  options.interface_spec = "=lo";
  options.family = 2;  // AF_INET
  options.host_label = "host" + std::to_string(rank / 8);
  return options;
}

UniqueIdBytes loopback_id(TimeNs rank_timeout_ns) {
  BootstrapOptions options = loopback_options(0, 1);
  options.rank_timeout_ns = rank_timeout_ns;
  auto id = create_unique_id(options, "");
  if (!id) {
    std::fprintf(stderr, "%s\n", std::string(id.error().message()).c_str());
    std::abort();
  }
  return *id;
}

std::vector<std::byte> info_of(int rank) {
  std::vector<std::byte> info(static_cast<size_t>(rank * 7 % 100));
  for (size_t i = 0; i < info.size(); ++i) {
    info[i] = static_cast<std::byte>(static_cast<size_t>(rank) + i);
  }
  return info;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

PathResult connect_rank(std::span<const UniqueIdBytes> ids, const BootstrapOptions& options) {
  const std::atomic<bool> abort{false};
  return connect_bootstrap(ids, options, info_of(options.rank), abort);
}

std::vector<PathResult> connect_threads(std::span<const UniqueIdBytes> ids, int ranks,
                                        const std::function<void(BootstrapOptions&)>& adjust) {
  std::vector<PathResult> results(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      BootstrapOptions options = loopback_options(rank, ranks);
      if (adjust) adjust(options);
      results[static_cast<size_t>(rank)] = connect_rank(ids, options);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

std::vector<std::unique_ptr<ControlPath>> world_of_threads(
    int ranks, const std::function<void(BootstrapOptions&)>& adjust) {
  const UniqueIdBytes id = loopback_id();
  std::vector<std::unique_ptr<ControlPath>> paths;
  for (PathResult& result : connect_threads({&id, 1}, ranks, adjust)) {
    if (!result) {
      std::fprintf(stderr, "%s\n", std::string(result.error().message()).c_str());
      std::abort();
    }
    paths.push_back(std::move(*result));
  }
  return paths;
}

void RecordingSink::on_control_message(int peer, std::span<const std::byte> message) {
  messages[peer].push_back(text_of(message));
}

void RecordingSink::on_peer_lost(int peer, const Status& status) {
  lost[peer] = status.message();
  ++lost_count[peer];
}

void RecordingSink::on_failure_announced(int origin, const Status& status) {
  failures.emplace_back(origin, status);
}

bool drive_until(const std::vector<Driven>& all, const std::function<bool()>& done) {
  const TimeNs end = now() + kPatience;
  std::vector<pollfd> wake;
  for (const Driven& one : all) wake.push_back({one.path->wake_fd(), POLLIN, 0});
  while (!done()) {
    TimeNs deadline = end;
    bool active = false;
    for (const Driven& one : all) {
      active |= one.path->progress(now(), *one.sink);
      deadline = std::min(deadline, one.path->next_deadline());
    }
    const TimeNs time = now();
    if (time >= end) return done();
    if (active || deadline <= time) continue;
    const auto wait = static_cast<int>((deadline - time) / kMillisecond + 1);
    ::poll(wake.data(), wake.size(), wait);
  }
  return true;
}

bool drive_until(ControlPath& path, RecordingSink& sink, const std::function<bool()>& done) {
  return drive_until({{&path, &sink}}, done);
}

bool close_all(const std::vector<Driven>& all) {
  for (const Driven& one : all) one.path->close({});
  return drive_until(all, [&] {
    return std::all_of(all.begin(), all.end(),
                       [](const Driven& one) { return one.path->closed(); });
  });
}

ForkedRank::ForkedRank(const std::function<void(const Report& report)>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // also when the test is killed
    ::close(ends[0]);
    body([&](const std::string& line) {
      const std::string text = line + "\n";
      if (::write(ends[1], text.data(), text.size()) < 0) ::_exit(1);
    });
    ::_exit(0);
  }
  ::close(ends[1]);
  read_.reset(ends[0]);
}

ForkedRank::~ForkedRank() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void ForkedRank::signal(int number) const { ::kill(pid_, number); }

std::string ForkedRank::next_line() {
  const TimeNs end = now() + kPatience;
  for (size_t line_end; (line_end = buffer_.find('\n')) == std::string::npos;) {
    pollfd ready{read_.get(), POLLIN, 0};
    const TimeNs time = now();
    char chunk[4096];
    if (time >= end || ::poll(&ready, 1, static_cast<int>((end - time) / kMillisecond)) <= 0) {
      return "";
    }
    const ssize_t got = ::read(read_.get(), chunk, sizeof chunk);
    if (got <= 0) return "";
    buffer_.append(chunk, static_cast<size_t>(got));
  }
  const size_t line_end = buffer_.find('\n');
  std::string line = buffer_.substr(0, line_end);
  buffer_.erase(0, line_end + 1);
  return line;
}

ForkedRoot::ForkedRoot()
    : process_([](const ForkedRank::Report& report) {
        std::string line;
        for (const std::byte byte : loopback_id()) line += fmt::format("{:02x}", byte);
        report(line);
        ::pause();
      }) {
  const std::string line = process_.next_line();
  if (line.size() != 2 * id_.size()) std::abort();
  for (size_t i = 0; i < id_.size(); ++i) {
    id_[i] = static_cast<std::byte>(std::stoi(line.substr(2 * i, 2), nullptr, 16));
  }
}

}  // namespace railccl::test
