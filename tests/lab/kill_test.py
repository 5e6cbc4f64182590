"""A rank is killed in the middle of AllReduces: every other one ends with an error that names it, in bounded time.

    python3 kill_test.py BUILD SOURCE [KILLS]

Eight ranks as processes, on one node and as two nodes. With KILLS, that many for each layout, and the distribution of the
times from the kill to the error is printed; it is not asserted, as the machine may be busy.
"""
import ctypes
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import unittest

from rank_library import load, UniqueId

if len(sys.argv) > 3 and sys.argv[1] == "--rank":
    BUILD = sys.argv[2]
else:
    KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    sys.argv = sys.argv[:3]
    import support
    BUILD = support.BUILD

RANKS = 8
DEADLINE_S = 20


def rank_process(rank):
    library = load(BUILD)
    comm = ctypes.c_void_p()
    unique = UniqueId.from_buffer_copy(bytes.fromhex(sys.stdin.readline().strip()))
    if library.ncclCommInitRank(ctypes.byref(comm), RANKS, unique, rank) != 0:
        sys.exit(library.ncclGetLastError(None).decode())
    count = 1 << 16
    data = (ctypes.c_float * count)()
    print("ready", flush=True)
    code = 0
    end = time.monotonic() + DEADLINE_S
    while code == 0 and time.monotonic() < end:
        code = library.ncclAllReduce(data, data, count, 7, 0, comm, None)
    report = {"code": code, "at": time.monotonic(), "text": library.ncclGetLastError(comm).decode()}
    library.ncclCommAbort(comm)
    print(json.dumps(report | {"aborted": time.monotonic()}), flush=True)


def kill_one(ranks_per_node, chooser):
    """(rank, seconds and report of each survivor)."""
    environment = os.environ | {"RAILCCL_RANKS_PER_NODE": str(ranks_per_node), "RAILCCL_DEBUG": "none"}
    processes = [subprocess.Popen([sys.executable, __file__, "--rank", BUILD, str(rank)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, env=environment) for rank in range(RANKS)]
    try:
        library = load(BUILD)
        unique = UniqueId()
        if library.ncclGetUniqueId(ctypes.byref(unique)) != 0:
            raise AssertionError(library.ncclGetLastError(None).decode())
        for process in processes:
            process.stdin.write(bytes(unique).hex() + "\n")
            process.stdin.flush()
        for process in processes:
            if process.stdout.readline() != "ready\n":
                raise AssertionError("a rank did not start")
        time.sleep(chooser.uniform(0.05, 0.4))
        victim = chooser.randrange(RANKS)
        killed_at = time.monotonic()
        processes[victim].send_signal(signal.SIGKILL)
        reports = {rank: json.loads(process.communicate(timeout=DEADLINE_S + 10)[0])
                   for rank, process in enumerate(processes) if rank != victim}
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    return victim, {rank: (each["at"] - killed_at, each) for rank, each in reports.items()}


class Kill(unittest.TestCase):
    def check(self, ranks_per_node):
        chooser = random.Random(7)
        before = support.shared_memory()
        slowest = []
        for _ in range(KILLS):
            victim, survivors = kill_one(ranks_per_node, chooser)
            for rank, (_, report) in survivors.items():
                self.assertNotEqual(report["code"], 0, f"rank {rank} went on without rank {victim}")
                self.assertIn(f"rank {victim}", report["text"], f"what rank {rank} says")
            slowest.append(max(seconds for seconds, _ in survivors.values()))
        self.assertEqual(support.shared_memory() - before, set(), "shared memory is left")
        slowest.sort()
        print(f"{KILLS} kills, {RANKS // ranks_per_node} nodes: the last of {RANKS - 1} ranks had its error after "
              f"{statistics.median(slowest) * 1e3:.0f} ms in the median, {slowest[-1] * 1e3:.0f} ms at most")

    def test_one_node(self):
        self.check(RANKS)

    def test_two_nodes(self):
        self.check(RANKS // 2)


if __name__ == "__main__":
    if sys.argv[1] == "--rank":
        rank_process(int(sys.argv[3]))
    else:
        support.main()
