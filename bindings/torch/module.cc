// The Python module: make a backend from a store.
#include <pybind11/chrono.h>
#include <torch/extension.h>

#include "backend.h"

namespace {

c10::intrusive_ptr<c10d::Backend> create(const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                         int size, const std::chrono::duration<float>& timeout) {
  return c10::make_intrusive<railccl_torch::RailcclBackend>(
      store, rank, size, std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("create", &create, pybind11::call_guard<pybind11::gil_scoped_release>());
  module.def("stop_completers", &railccl_torch::Completer::stop_all,
             pybind11::call_guard<pybind11::gil_scoped_release>());
}
