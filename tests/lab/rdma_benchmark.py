"""What verbs rails reach of the same Soft-RoCE devices, in one session of two virtual machines:

    python3 tests/lab/rdma_benchmark.py BUILD SOURCE [ROUNDS]

AllReduce on verbs rails against Open MPI over UCX on the same devices, medians of rounds that take turns, and ib_write_bw on
each rail alone and on both at once beside it.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading

from qemu_session import Session
from support import BIN, SOURCE, read_report

SIZES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
MEBIBYTE = 1 << 20
ITERATIONS = {1 << 10: 100, 64 << 10: 40, 1 << 20: 10, 16 << 20: 2}
UCX = {"UCX_TLS": "rc_v,ud_v,self", "UCX_NET_DEVICES": "rxe0:1,rxe1:1", "UCX_MAX_RNDV_RAILS": "2"}


class Perftest:
    """ib_write_bw and ib_write_lat between the two nodes."""

    def __init__(self, session):
        self._session = session

    def _run(self, tool, rail, arguments):
        """The words of the row of results at the client."""
        port = str(18500 + rail)
        command = [tool, "-d", f"rxe{rail}", "-x", "1", "-p", port, "-F", *arguments]
        environment = dict(os.environ)
        server = self._session.fabric.start(0, ["timeout", "100", *command], environment)
        script = 'for i in 1 2 3 4 5 6 7 8 9; do "$@" && exit; sleep 1; done'  # until the server listens
        client = self._session.fabric.start(1, ["sh", "-c", script, "sh", "timeout", "100", *command, f"10.{rail + 1}.0.1"],
                                            environment)
        output = client.stdout.read().decode()
        server.stdout.read()
        if client.wait() != 0:
            raise RuntimeError(output)
        rows = [line.split() for line in output.splitlines() if re.match(r"^ \d+ +\d+ +\d", line)]
        return rows[-1]

    def bandwidth(self, rails, seconds_at_once=4):
        """MB/s (10^6) of each of the rails, at the same time, with puts of 1 MiB."""
        found = {}

        def measure(rail):
            row = self._run("ib_write_bw", rail, ["-s", str(MEBIBYTE), "-D", str(seconds_at_once)])
            found[rail] = float(row[3]) * MEBIBYTE / 1e6
        threads = [threading.Thread(target=measure, args=(rail,)) for rail in rails]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[rail] for rail in rails]

    def latency(self, rail):
        """Median microseconds, one way, of puts of 8 bytes."""
        return float(self._run("ib_write_lat", rail, ["-s", "8", "-n", "200"])[4])


def ours(session, folder, size):
    report = os.path.join(folder, "out.json")
    code, output = session.run([os.path.join(BIN, "all_reduce_perf"), "-b", str(size), "-e", str(size), "-c", "0", "-n",
                                str(ITERATIONS[size]), "-w", "2", "-J", report], {"RAILCCL_TRANSPORT": "verbs"})
    if code != 0:
        raise RuntimeError(output)
    return read_report(report)["results"][0]["out_of_place"]["time"]


def openmpi(session, program, size):
    code, output = session.mpirun([program, "all_reduce", str(size), str(size), "2", "1.0"],
                                  ["--mca", "pml", "ucx"], UCX)
    found = re.search(rf"all_reduce {size} (\S+)", output)
    if code != 0 or not found:
        raise RuntimeError(output)
    return float(found.group(1))


def main():
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    session = Session(2, 2)
    failed = True
    folder = tempfile.mkdtemp()
    try:
        perftest = Perftest(session)
        alone = [perftest.bandwidth([rail])[0] for rail in (0, 1)]
        both = perftest.bandwidth([0, 1])
        print(f"ib_write_bw 1 MiB: {alone[0]:.1f} and {alone[1]:.1f} MB/s alone, {both[0]:.1f} + {both[1]:.1f} MB/s at once")
        print(f"ib_write_lat 8 B: {perftest.latency(0):.1f} us")
        program = os.path.join(folder, "mpi_collectives")
        subprocess.run(["mpicc.openmpi", "-O2", os.path.join(SOURCE, "tests/benchmarks/mpi_collectives.c"), "-o", program],
                       check=True)
        print("| bytes | RailCCL us | Open MPI over UCX us | ratio |\n| --- | --- | --- | --- |")
        for size in SIZES:
            times = [(ours(session, folder, size), openmpi(session, program, size)) for _ in range(rounds)]
            mine, theirs = (statistics.median(one) for one in zip(*times))
            print(f"| {size} | {mine:.0f} | {theirs:.0f} | {mine / theirs:.2f} |", flush=True)
        failed = False
    finally:
        session.close(failed)
        shutil.rmtree(folder)


main()
