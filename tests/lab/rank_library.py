"""The C API for rank processes of tests, by ctypes."""
import ctypes
import os

SUCCESS, IN_PROGRESS = 0, 7
FLOAT, INT32 = 7, 2
SUM = 0
SHRINK_ABORT = 1


class UniqueId(ctypes.Structure):
    _fields_ = [("internal", ctypes.c_char * 128)]


def load(build):
    library = ctypes.CDLL(os.path.join(build, "lib", "librailccl.so.1"))
    pointer, integer, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    comm_out = ctypes.POINTER(pointer)
    for name, arguments in {
            "ncclCommInitAll": [comm_out, integer, pointer],
            "ncclCommInitRank": [comm_out, integer, UniqueId, integer],
            "railcclCommInitFromEnv": [comm_out],
            "ncclAllReduce": [pointer, pointer, size, integer, integer, pointer, pointer],
            "ncclBroadcast": [pointer, pointer, size, integer, integer, pointer, pointer],
            "ncclSend": [pointer, size, integer, integer, pointer, pointer],
            "ncclRecv": [pointer, size, integer, integer, pointer, pointer],
            "ncclCommRegister": [pointer, pointer, size, comm_out],
            "ncclCommAbort": [pointer],
            "ncclCommDestroy": [pointer],
            "ncclCommRevoke": [pointer, integer],
            "ncclCommGetAsyncError": [pointer, ctypes.POINTER(integer)],
            "ncclCommShrink": [pointer, ctypes.POINTER(integer), integer, comm_out, pointer, integer],
            "ncclCommSplit": [pointer, integer, integer, comm_out, pointer],
            "railcclStreamCreate": [comm_out],
    }.items():
        getattr(library, name).argtypes = arguments
    library.ncclGetLastError.argtypes = [pointer]
    library.ncclGetLastError.restype = ctypes.c_char_p
    return library
