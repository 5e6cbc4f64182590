// The functions of a library that is loaded at run time, by name; those that it lacks are
// collected, so that one message can name all of them.
#pragma once

#include <dlfcn.h>

#include <string>

namespace railccl {

class LibrarySymbols {
 public:
  // As dlopen gave it; not owned.
  explicit LibrarySymbols(void* library) : library_(library) {}
  template <typename Function>
  void find(Function*& target, const char* name) {
    target = reinterpret_cast<Function*>(dlsym(library_, name));
    if (target == nullptr) missing_ += missing_.empty() ? name : std::string(", ") + name;
  }
  // "ibv_open_device, ibv_poll_cq"; empty: all were there.
  const std::string& missing() const { return missing_; }

 private:
  void* library_;
  std::string missing_;
};

}  // namespace railccl
