#include "transport/ucx/ucx_api.h"

#include <dlfcn.h>

#include "transport/library_symbols.h"

namespace railccl::ucx {
namespace {

Result<UcxApi> load() {
  void* library = dlopen("libucp.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return error(Code::kSystemError, "UCX cannot be loaded ({}); install libucx0", dlerror());
  }
  UcxApi api;
  LibrarySymbols symbols(library);  // those of libucs, too, which libucp is linked with
  symbols.find(api.get_version, "ucp_get_version");
  symbols.find(api.config_read, "ucp_config_read");
  symbols.find(api.config_modify, "ucp_config_modify");
  symbols.find(api.config_release, "ucp_config_release");
  symbols.find(api.init_version, "ucp_init_version");
  symbols.find(api.cleanup, "ucp_cleanup");
  symbols.find(api.mem_map, "ucp_mem_map");
  symbols.find(api.mem_unmap, "ucp_mem_unmap");
  symbols.find(api.worker_create, "ucp_worker_create");
  symbols.find(api.worker_destroy, "ucp_worker_destroy");
  symbols.find(api.worker_query, "ucp_worker_query");
  symbols.find(api.worker_release_address, "ucp_worker_release_address");
  symbols.find(api.worker_get_efd, "ucp_worker_get_efd");
  symbols.find(api.worker_arm, "ucp_worker_arm");
  symbols.find(api.worker_progress, "ucp_worker_progress");
  symbols.find(api.worker_set_am_recv_handler, "ucp_worker_set_am_recv_handler");
  symbols.find(api.ep_create, "ucp_ep_create");
  symbols.find(api.ep_close_nbx, "ucp_ep_close_nbx");
  symbols.find(api.ep_flush_nbx, "ucp_ep_flush_nbx");
  symbols.find(api.am_send_nbx, "ucp_am_send_nbx");
  symbols.find(api.am_recv_data_nbx, "ucp_am_recv_data_nbx");
  symbols.find(api.request_free, "ucp_request_free");
  symbols.find(api.status_string, "ucs_status_string");
  if (symbols.missing().empty()) return api;
  dlclose(library);
  return error(Code::kSystemError, "libucp lacks {}; it needs UCX 1.13 or newer",
               symbols.missing());
}

}  // namespace

Result<const UcxApi*> load_ucx() {
  // Never unloaded: UCX keeps a thread and hooks of its own.
  static const Result<UcxApi> loaded = load();
  if (!loaded) return Error(loaded.error());
  return &*loaded;
}

}  // namespace railccl::ucx
