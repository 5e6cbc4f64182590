"""What verbs rails reach of two Soft-RoCE devices, in one session of two virtual machines:

    python3 tests/lab/rdma_benchmark.py BUILD SOURCE [ROUNDS]

Each round measures rail_perf against ib_write_bw and ib_write_lat, and AllReduce against Open MPI over UCX, one right after
the other, so that both see the same machine. Prints the median of each over the rounds, and of the rounds' ratios, with the
smallest and the largest of them.
"""
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from qemu_session import Session
from support import BIN, SOURCE, read_report

MEBIBYTE = 1 << 20
PUTS = 60  # of 1 MiB: some seconds
SIZES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
# As mpi_collectives.c: the median of seven rounds, of some half second together where one is short enough.
ITERATIONS = {1 << 10: 70, 64 << 10: 10, 1 << 20: 2, 16 << 20: 1}
CYCLES = {1 << 10: 7, 64 << 10: 7, 1 << 20: 7, 16 << 20: 3}
VERBS = {"RAILCCL_TRANSPORT": "verbs", "RAILCCL_TCP_FALLBACK": "0", "RAILCCL_METRICS_FILE": None}
# Over Soft-RoCE and IPv4 UCX's UD, by which RC connects, drops everything without the last one (docs/rdma.md).
# Its own choice for large messages, to read from the peer, took up to 30 times as long here, so it writes.
UCX = {"UCX_TLS": "rc_v,ud_v,self", "UCX_RNDV_SCHEME": "put_zcopy", "UCX_UD_ETH_DGID_CHECK": "n"}
# The one with the better median counts.
UCX_CHOICES = {"both rails": {"UCX_NET_DEVICES": "rxe0:1,rxe1:1", "UCX_MAX_RNDV_RAILS": "2"},
               "one rail": {"UCX_NET_DEVICES": "rxe0:1"}}
COMMAND_SECONDS = 60
TIMED_OUT = 124  # of timeout(1)
ROUND_SECONDS = 600


def problem(code, output):
    """Why another's program gave no figure: one line."""
    lines = output.strip().splitlines() or ["no output"]
    return f"not within {COMMAND_SECONDS} s" if code == TIMED_OUT else f"exit code {code}, {lines[-1]}"


class Perftest:
    """ib_write_bw and ib_write_lat from node 1 to node 0."""

    def __init__(self, session):
        self._session = session

    def _start(self, node, command):
        return self._session.fabric.start(node, ["timeout", "-k", "5", str(COMMAND_SECONDS), *command], dict(os.environ))

    def _run(self, tool, rail, arguments):
        """The words of the row of results at the client; None: it has not gone well, which is said."""
        command = [tool, "-d", f"rxe{rail}", "-x", "1", "-p", str(18500 + rail), "-F", *arguments]
        server = self._start(0, command)
        until_it_listens = 'for i in 1 2 3 4 5 6 7 8 9; do "$@" && exit; sleep 1; done; exit 1'
        client = self._start(1, ["sh", "-c", until_it_listens, "sh", *command, f"10.{rail + 1}.0.1"])
        with client.stdout, server.stdout:
            output = client.stdout.read().decode()
            server.stdout.read()
        rows = [line.split() for line in output.splitlines() if re.match(r"^ \d+ +\d+ +\d", line)]
        if client.wait() == 0 and rows:
            return rows[-1]
        print(f"#   {tool} on rail {rail}: {problem(client.returncode, output)}", flush=True)
        return None

    def bandwidth(self, rails):
        """MB/s of puts of 1 MiB over these rails at the same time, summed; None: not known."""
        found = []

        def measure(rail):
            row = self._run("ib_write_bw", rail, ["-s", str(MEBIBYTE), "-n", str(PUTS)])
            if row is not None:
                found.append(float(row[3]) * MEBIBYTE / 1e6)
        threads = [threading.Thread(target=measure, args=(rail,), daemon=True) for rail in rails]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(found) if len(found) == len(rails) else None

    def latency(self, rail):
        """Median microseconds, one way, of puts of 8 bytes; None: not known."""
        row = self._run("ib_write_lat", rail, ["-s", "8", "-n", "500"])
        return None if row is None else float(row[4])


class Ours:
    def __init__(self, session, folder):
        self._session = session
        self._folder = folder
        self._runs = 0

    def _run(self, program, *arguments):
        self._runs += 1
        report = os.path.join(self._folder, f"{self._runs}.json")
        code, output = self._session.run([os.path.join(BIN, program), *arguments, "-J", report], VERBS,
                                         timeout=COMMAND_SECONDS)
        if code != 0:
            raise RuntimeError(output)
        return read_report(report)

    def bandwidth(self, rails):
        """MB/s of puts of 1 MiB, one way, over these rails."""
        names = [f"rxe{rail}:1" for rail in rails]
        report = self._run("rail_perf", "-b", "1M", "-e", "1M", "-n", str(PUTS), "-w", "4", "--bandwidth", "-x",
                           "all" if len(names) > 1 else names[0])
        return report["links"][-1]["bandwidth"][0]["one_way"]["mbytes_per_s"]

    def latency(self, poll):
        """Median microseconds, one way, of puts of 8 bytes with a notification."""
        report = self._run("rail_perf", "-b", "8", "-e", "8", "-n", "500", "--latency", "-x", "rxe0:1", "--poll", poll)
        return report["links"][0]["latency"][0]["half_round_trip_us"]["p50"]

    def all_reduce(self, size):
        report = self._run("all_reduce_perf", "-b", str(size), "-e", str(size), "-c", "0", "-n", str(ITERATIONS[size]),
                           "-w", "2", "-N", str(CYCLES[size]))
        return statistics.median(result["out_of_place"]["time"] for result in report["results"])


def openmpi(session, program, size):
    """Microseconds, by choice; those that have not gone well are left out."""
    times = {}
    for name, choice in UCX_CHOICES.items():
        code, output = session.mpirun([program, "all_reduce", str(size), str(size), "2", "0.5"],
                                      ["--mca", "pml", "ucx"], UCX | choice, timeout=COMMAND_SECONDS)
        found = re.search(rf"all_reduce {size} (\S+)", output)
        if code == 0 and found:
            times[name] = float(found.group(1))
        print(f"#   Open MPI, {name}: {found.group(1) + ' us' if code == 0 and found else problem(code, output)}", flush=True)
    return times


class Table:
    """Pairs of figures, ours and theirs, by what they are of and by which choice of theirs."""

    def __init__(self):
        self._pairs = {}

    def add(self, what, ours, theirs, choice=None):
        """`theirs` None: left out."""
        if theirs is None:
            return
        self._pairs.setdefault(what, {}).setdefault(choice, []).append((ours, theirs))
        print(f"# {what}{f' ({choice})' if choice else ''}: {ours:.1f}, {theirs:.1f}", flush=True)

    def show(self):
        print("| what | RailCCL | the other | ratio, median (least to most) |\n| --- | --- | --- | --- |")
        for what, choices in self._pairs.items():
            pairs = min(choices.values(), key=lambda each: statistics.median(theirs for _, theirs in each))
            ratios = [ours / theirs for ours, theirs in pairs]
            ours, theirs = (statistics.median(figures) for figures in zip(*pairs))
            print(f"| {what} | {ours:.1f} | {theirs:.1f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
                  f"{max(ratios):.2f}) |")


def measure_round(session, ours, program, table):
    perftest = Perftest(session)
    reached = {}
    for rails, name in (([0], "rail 0"), ([1], "rail 1"), ([0, 1], "both rails")):
        theirs = perftest.bandwidth(rails)
        reached[name] = ours.bandwidth(rails)
        table.add(f"{name}, puts of 1 MiB, MB/s: ib_write_bw", reached[name], theirs)
    table.add("both rails, MB/s: the better one alone", reached["both rails"], max(reached["rail 0"], reached["rail 1"]))
    for poll in ("spin", "adaptive"):
        theirs = perftest.latency(0)
        table.add(f"put of 8 B, {poll}, us: ib_write_lat", ours.latency(poll), theirs)
    for size in SIZES:
        theirs = openmpi(session, program, size)
        mine = ours.all_reduce(size)
        for choice, figure in theirs.items():
            table.add(f"AllReduce of {size} B, us: Open MPI over UCX", mine, figure, choice)


def too_long(_number, _frame):
    raise TimeoutError(f"a round has not ended within {ROUND_SECONDS} s")


def main():
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    signal.signal(signal.SIGALRM, too_long)
    table = Table()
    session = Session(2, 2)
    failed = True
    folder = tempfile.mkdtemp(dir="/tmp")  # which the guests may write
    try:
        program = os.path.join(folder, "mpi_collectives")
        subprocess.run(["mpicc.openmpi", "-O2", os.path.join(SOURCE, "tests/benchmarks/mpi_collectives.c"), "-o", program],
                       check=True)
        ours = Ours(session, folder)
        for _ in range(rounds):
            signal.alarm(ROUND_SECONDS)
            began = time.monotonic()
            measure_round(session, ours, program, table)
            print(f"# the round took {time.monotonic() - began:.0f} s", flush=True)
        failed = False
    finally:
        signal.alarm(0)
        table.show()
        session.close(failed)
        shutil.rmtree(folder)


main()
