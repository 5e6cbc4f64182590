"""Pointers of a real GPU, given to the host library: errors that name the argument, never a crash.

    python3 device_pointers.py BUILD

Exits with 77 and a reason where there is no GPU. Also printed: what the question to the driver adds to a call.
"""
import ctypes
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
from rank_library import FLOAT, load, SUM  # noqa: E402

COUNT = 1 << 20
INVALID_ARGUMENT, INVALID_USAGE = 4, 5
MEM_ATTACH_GLOBAL = 1


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


class Library:
    """The API, and one rank's communicator."""

    def __init__(self, build):
        self._api = load(build)
        self._comm = ctypes.c_void_p()
        self.make_comm()

    def make_comm(self):
        assert self._api.ncclCommInitAll(ctypes.byref(self._comm), 1, None) == 0, self.last_error()

    def last_error(self):
        return self._api.ncclGetLastError(None).decode()

    def all_reduce(self, source, target, count=COUNT, stream=None):
        return self._api.ncclAllReduce(source, target, count, FLOAT, SUM, self._comm, stream)

    def register(self, address, size):
        return self._api.ncclCommRegister(self._comm, address, size, ctypes.byref(ctypes.c_void_p()))

    def call_ns(self, address):
        times = []
        for _ in range(21):
            begin = time.perf_counter_ns()
            for _ in range(2000):
                self.all_reduce(address, address, 2)
            times.append((time.perf_counter_ns() - begin) / 2000)
        return statistics.median(times)


def managed_memory(size):
    driver = ctypes.CDLL("libcuda.so.1")
    address = ctypes.c_uint64()
    code = driver.cuMemAllocManaged(ctypes.byref(address), ctypes.c_size_t(size), MEM_ATTACH_GLOBAL)
    assert code == 0, f"cuMemAllocManaged: {code}"
    return address.value


def main():
    library = Library(sys.argv[1])
    plain = (ctypes.c_float * 2)(1, 1)
    without = library.call_ns(ctypes.addressof(plain))
    try:
        import torch  # after the first communicator: this one has not seen the driver
    except ImportError:
        skip("no PyTorch")
    if not torch.cuda.is_available():
        skip("no GPU")
    gpu = torch.arange(COUNT, dtype=torch.float32, device="cuda")
    host = torch.zeros(COUNT, dtype=torch.float32)
    library.make_comm()

    def refused(code, name, function):
        assert code == INVALID_ARGUMENT, f"{function}: {code}"
        expected = f"argument {name} of {function} is memory of a GPU"
        assert expected in library.last_error(), library.last_error()

    refused(library.all_reduce(gpu.data_ptr(), host.data_ptr()), "sendbuff", "ncclAllReduce")
    refused(library.all_reduce(host.data_ptr(), gpu.data_ptr() + 4096), "recvbuff", "ncclAllReduce")
    refused(library.register(gpu.data_ptr(), 4096), "buff", "ncclCommRegister")
    print(library.last_error())
    for stream in (1, 2, torch.cuda.Stream().cuda_stream):
        assert library.all_reduce(host.data_ptr(), host.data_ptr(), stream=stream) == INVALID_USAGE
    print(library.last_error())

    pinned = torch.arange(COUNT, dtype=torch.float32).pin_memory()
    assert library.all_reduce(pinned.data_ptr(), host.data_ptr()) == 0, library.last_error()
    assert torch.equal(host, pinned)
    managed = managed_memory(4 * COUNT)
    ctypes.memmove(managed, pinned.data_ptr(), 4 * COUNT)
    host.zero_()
    assert library.all_reduce(managed, host.data_ptr()) == 0, library.last_error()
    assert torch.equal(host, pinned)
    print("pinned and managed memory: taken, results right")

    asked = library.call_ns(ctypes.addressof(plain))
    print(f"AllReduce of 8 bytes, one rank: {without:.0f} ns, with the driver in the process {asked:.0f} ns "
          f"(two pointers looked up), on {torch.cuda.get_device_name()}")
    print("passed")


main()
