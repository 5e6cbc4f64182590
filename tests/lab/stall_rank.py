"""One rank of stalls.py: AllReduce of 64 MiB in a loop, every element checked each time.

    python3 stall_rank.py BUILD SECONDS     started by fabric-lab

Rank 0 prints a line of JSON: begin and end of each operation, in seconds of CLOCK_MONOTONIC.
"""
import array
import ctypes
import json
import os
import sys
import time

from rank_library import FLOAT, load, SUM

RANK = int(os.environ["RANK"])
RANKS = int(os.environ["WORLD_SIZE"])
COUNT = 16 << 20


def pattern(shift):
    return array.array("f", [float(value + shift) for value in range(1024)]) * (COUNT // 1024)


def address(values):
    return values.buffer_info()[0]


def main():
    library = load(sys.argv[1])
    libc = ctypes.CDLL(None)
    libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    comm = ctypes.c_void_p()

    def check(code):
        if code != 0:
            sys.exit(library.ncclGetLastError(comm).decode())

    def all_reduce(source, target, count):
        check(library.ncclAllReduce(source, target, count, FLOAT, SUM, comm, None))

    check(library.railcclCommInitFromEnv(ctypes.byref(comm)))
    source = pattern(RANK)
    expected = array.array("f", [float(value * RANKS + RANKS * (RANKS - 1) // 2) for value in range(1024)])
    expected *= COUNT // 1024
    result = array.array("f", bytes(4 * COUNT))
    more = array.array("f", [0.0])
    end = time.monotonic() + float(sys.argv[2])
    times = []
    while True:
        ctypes.memset(address(result), 0xff, 4 * COUNT)
        begin = time.monotonic()
        all_reduce(address(source), address(result), COUNT)
        times.append((begin, time.monotonic()))
        if libc.memcmp(address(result), address(expected), 4 * COUNT) != 0:
            sys.exit(f"rank {RANK}: a wrong element in operation {len(times)}")
        # Rank 0 decides for all.
        more[0] = float(RANK == 0 and time.monotonic() < end)
        all_reduce(address(more), address(more), 1)
        if more[0] == 0:
            break
    if RANK == 0:
        print(json.dumps({"times": times}), flush=True)
    check(library.ncclCommDestroy(comm))


main()
