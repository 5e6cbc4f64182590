"""What it costs to start: N rank processes on this machine make a communicator, and then a second one.

    python3 tests/benchmarks/start_cost.py BUILD [--ranks 64] [--nodes 1] [--rounds 3]

Printed are the seconds from the last rank's call of ncclCommInitRank to the last one's return, and what each idle
communicator adds to a rank's resident memory (the second one: what is not shared by all), per peer.
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time


class UniqueId(ctypes.Structure):
    _fields_ = [("internal", ctypes.c_char * 128)]


def load(build):
    library = ctypes.CDLL(os.path.join(build, "lib", "librailccl.so.1"))
    library.ncclCommInitRank.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, UniqueId, ctypes.c_int]
    library.ncclGetLastError.restype = ctypes.c_char_p
    return library


def check(library, code):
    if code != 0:
        sys.exit(library.ncclGetLastError(None).decode())


def new_id(library):
    unique = UniqueId()
    check(library, library.ncclGetUniqueId(ctypes.byref(unique)))
    return bytes(unique)


def resident_bytes():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def rank_process(build, rank, ranks):
    library = load(build)
    report = {"before": [], "after": [], "resident": [resident_bytes()]}
    comms = []
    for _ in range(2):
        comm = ctypes.c_void_p()
        unique = UniqueId.from_buffer_copy(bytes.fromhex(sys.stdin.readline().strip()))
        report["before"].append(time.monotonic())
        check(library, library.ncclCommInitRank(ctypes.byref(comm), ranks, unique, rank))
        report["after"].append(time.monotonic())
        report["resident"].append(resident_bytes())
        comms.append(comm)
        print("ready", flush=True)
    sys.stdin.readline()
    for comm in comms:
        check(library, library.ncclCommDestroy(comm))
    print(json.dumps(report), flush=True)


def one_round(build, ranks, nodes):
    environment = os.environ | {"RAILCCL_RANKS_PER_NODE": str(ranks // nodes)}
    command = [sys.executable, __file__, build, "--ranks", str(ranks)]
    processes = [subprocess.Popen([*command, "--rank", str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, env=environment) for rank in range(ranks)]
    library = load(build)

    def tell(text):
        for process in processes:
            process.stdin.write(text + "\n")
            process.stdin.flush()

    for _ in range(2):
        tell(new_id(library).hex())
        if any(process.stdout.readline() != "ready\n" for process in processes):
            sys.exit("a rank has failed")
    tell("end")
    reports = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    seconds = [max(each["after"][i] for each in reports) - max(each["before"][i] for each in reports) for i in range(2)]
    memory = [statistics.median(each["resident"][i + 1] - each["resident"][i] for each in reports) for i in range(2)]
    return seconds, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank is not None:
        return rank_process(arguments.build, arguments.rank, arguments.ranks)
    rounds = [one_round(arguments.build, arguments.ranks, arguments.nodes) for _ in range(arguments.rounds)]
    for i, name in enumerate(("first", "second")):
        seconds = statistics.median(each[0][i] for each in rounds)
        memory = statistics.median(each[1][i] for each in rounds)
        print(f"{name} communicator of {arguments.ranks} ranks on {arguments.nodes} nodes: {seconds:.2f} s, "
              f"{memory / 1024:.0f} KiB a rank, {memory / 1024 / max(arguments.ranks - 1, 1):.1f} KiB a peer")
    return None


main()
