/* That C programs can use the headers: compiled as C11, linked into nccl_header_test. */
#include <railccl/nccl.h>
#include <railccl/railccl.h>

_Static_assert(sizeof(ncclConfig_t) == 80, "ABI");
_Static_assert(sizeof(ncclUniqueId) == 128, "ABI");
_Static_assert(sizeof(railcclStream_t) == sizeof(void*), "goes into a stream argument");

int railccl_header_config_version(void);
int railccl_header_config_version(void) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  ncclSimInfo_t info = NCCL_SIM_INFO_INITIALIZER;
  return config.version == info.version ? (int)config.version : -1;
}
