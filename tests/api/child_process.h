// Runs a function in a forked child with an environment of its own, because a process reads its
// settings once. The parent must not have used the library.
#pragma once

#include <functional>
#include <map>
#include <string>

namespace railccl::test {

struct ChildEnd {
  int exit_code = -1;  // 128 + signal when one ended it
  std::string output;  // what it wrote to stdout and stderr
};

// `body` prints what the parent is to judge; the child then ends by exit(), or is killed after a
// minute.
ChildEnd run_child(const std::map<std::string, std::string>& environment,
                   const std::function<void()>& body);

// A new folder below the temporary one, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The whole file; empty when it is not there.
std::string read_file(const std::string& path);

}  // namespace railccl::test
