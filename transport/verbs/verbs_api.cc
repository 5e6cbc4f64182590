#include "transport/verbs/verbs_api.h"

#include <dlfcn.h>

#include "transport/library_symbols.h"

namespace railccl::verbs {
namespace {

Result<VerbsApi> load() {
  void* library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return error(Code::kSystemError,
                 "libibverbs cannot be loaded ({}); install libibverbs1 and ibverbs-providers",
                 dlerror());
  }
  VerbsApi api;
  LibrarySymbols symbols(library);
  symbols.find(api.get_device_list, "ibv_get_device_list");
  symbols.find(api.free_device_list, "ibv_free_device_list");
  symbols.find(api.get_device_name, "ibv_get_device_name");
  symbols.find(api.open_device, "ibv_open_device");
  symbols.find(api.close_device, "ibv_close_device");
  symbols.find(api.query_device, "ibv_query_device");
  symbols.find(api.query_port, "ibv_query_port");
  symbols.find(api.query_gid_table, "_ibv_query_gid_table");
  symbols.find(api.alloc_pd, "ibv_alloc_pd");
  symbols.find(api.dealloc_pd, "ibv_dealloc_pd");
  symbols.find(api.reg_mr_iova2, "ibv_reg_mr_iova2");
  symbols.find(api.dereg_mr, "ibv_dereg_mr");
  symbols.find(api.create_comp_channel, "ibv_create_comp_channel");
  symbols.find(api.destroy_comp_channel, "ibv_destroy_comp_channel");
  symbols.find(api.create_cq, "ibv_create_cq");
  symbols.find(api.destroy_cq, "ibv_destroy_cq");
  symbols.find(api.get_cq_event, "ibv_get_cq_event");
  symbols.find(api.ack_cq_events, "ibv_ack_cq_events");
  symbols.find(api.create_qp, "ibv_create_qp");
  symbols.find(api.modify_qp, "ibv_modify_qp");
  symbols.find(api.destroy_qp, "ibv_destroy_qp");
  symbols.find(api.get_async_event, "ibv_get_async_event");
  symbols.find(api.ack_async_event, "ibv_ack_async_event");
  symbols.find(api.wc_status_str, "ibv_wc_status_str");
  symbols.find(api.event_type_str, "ibv_event_type_str");
  symbols.find(api.port_state_str, "ibv_port_state_str");
  if (!symbols.missing().empty()) {
    dlclose(library);
    return error(Code::kSystemError, "libibverbs lacks {}; it needs rdma-core 32 or newer",
                 symbols.missing());
  }
  LibrarySymbols optional(library);
  optional.find(api.reg_dmabuf_mr, "ibv_reg_dmabuf_mr");
  return api;
}

}  // namespace

Result<const VerbsApi*> load_verbs() {
  // Never unloaded: providers keep threads and memory of their own.
  static const Result<VerbsApi> loaded = load();
  if (!loaded) return Error(loaded.error());
  return &*loaded;
}

}  // namespace railccl::verbs
