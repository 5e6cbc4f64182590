// A rank process for launch_test: does what its arguments say, in order.
//   say TEXT      writes TEXT, with %r replaced by the rank, to standard output
//   complain TEXT the same to standard error
//   env NAME      writes NAME=value to standard error
//   exit RANK N   if it is RANK: exits with N
//   die RANK N    if it is RANK: kills itself with signal N
//   pid FILE      appends its process id to FILE
//   hang          waits for ever
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

std::string with_rank(std::string text, const std::string& rank) {
  const size_t at = text.find("%r");
  return at == std::string::npos ? text : text.replace(at, 2, rank);
}

void append_process_id(const std::string& file) {
  const int fd = open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600);
  const std::string line = std::to_string(getpid()) + "\n";
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(99);
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const char* variable = std::getenv("RANK");
  const std::string rank = variable != nullptr ? variable : "none";
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "say") {
      std::printf("%s\n", with_rank(words.at(++i), rank).c_str());
    } else if (word == "complain") {
      std::fprintf(stderr, "%s\n", with_rank(words.at(++i), rank).c_str());
    } else if (word == "env") {
      const char* value = std::getenv(words.at(++i).c_str());
      std::fprintf(stderr, "%s=%s\n", words[i].c_str(), value != nullptr ? value : "(unset)");
    } else if (word == "exit" || word == "die") {
      const bool mine = words.at(++i) == rank;
      const int number = std::atoi(words.at(++i).c_str());
      if (mine && word == "exit") return number;
      if (mine) raise(number);
    } else if (word == "pid") {
      append_process_id(words.at(++i));
    } else if (word == "hang") {
      std::fflush(stdout);
      while (true) pause();
    }
  }
  return 0;
}
