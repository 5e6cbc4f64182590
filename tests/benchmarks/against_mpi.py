"""Collectives inside one node, or over loopback TCP, against the MPI libraries of the distribution.

    python3 tests/benchmarks/against_mpi.py BUILD [--tcp] [--ranks 2,4] [--rounds 3] [--prefix 'nice -n -15']

Builds mpi_collectives.c with mpicc.openmpi and mpicc.mpich where they are, runs all libraries in turn in each round, and
prints the median over the rounds of each one's mean time, in microseconds, and ours over the best of them. Inside a node
also the bytes that the collective must at least read and write, per second of our time, as a share of what the memory
carries (memory_rate.c, in the same rounds); what fits into the caches is above 1.
"""
import argparse
import contextlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Iterations between two meetings of the ranks, by size: enough of them that the meeting does not count.
ITERATIONS = ((1 << 20, 1000), (1 << 24, 100), (1 << 62, 5))
COLLECTIVES = ("all_reduce", "all_gather", "broadcast", "reduce_scatter")
ENVIRONMENT = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def first_size(arguments, collective, ranks):
    """The perf programs round each rank's share down to 16 bytes, as nccl-tests do."""
    share = 16 if collective in ("all_gather", "reduce_scatter") else 4
    return max(arguments.first, share * ranks)


def output_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
                          timeout=900, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}:\n{done.stdout}")
    return done.stdout


class Mpi:
    def __init__(self, name, folder, options):
        self.name = name
        self.program = os.path.join(folder, f"mpi_collectives.{name}")
        self.options = options
        output_of([f"mpicc.{name}", "-O2", os.path.join(HERE, "mpi_collectives.c"), "-o", self.program])

    def times(self, arguments, collective, ranks):
        lines = output_of([*arguments.prefix, f"mpirun.{self.name}", *self.options, "-np", str(ranks), self.program,
                           collective, str(first_size(arguments, collective, ranks)), str(arguments.last), str(arguments.factor),
                           str(arguments.seconds)]).splitlines()
        words = [line.split() for line in lines if line.startswith(collective)]
        return {int(size): float(time) for _, size, time in words}


class Ours:
    name = "railccl"

    def __init__(self, build, folder, options):
        self.bin = os.path.join(build, "bin")
        self.report = os.path.join(folder, "out.json")
        self.options = options

    def times(self, arguments, collective, ranks):
        sizes = [first_size(arguments, collective, ranks)]
        while sizes[-1] * arguments.factor <= arguments.last:
            sizes.append(sizes[-1] * arguments.factor)
        times = {}
        for index, (limit, iterations) in enumerate(ITERATIONS):
            least = ITERATIONS[index - 1][0] if index else 0
            times |= self.run(arguments, collective, ranks, [size for size in sizes if least <= size < limit], iterations)
        return times

    def run(self, arguments, collective, ranks, sizes, iterations):
        if not sizes:
            return {}
        options = [option.format(ranks=ranks) for option in self.options]
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.report)
        output_of([*arguments.prefix, os.path.join(self.bin, f"{collective}_perf"), "--local", str(ranks), *options,
                   "-b", str(sizes[0]), "-e", str(sizes[-1]), "-f", str(arguments.factor), "-c", "0",
                   "-n", str(iterations), "-w", str(iterations), "--seconds", str(arguments.seconds / 2),
                   "-J", self.report])
        with open(self.report, encoding="utf-8") as file:
            results = json.load(file)["results"]
        # MPI_Bcast has one buffer.
        place = "in_place" if collective == "broadcast" else "out_of_place"
        return {result["size"]: result[place]["time"] for result in results}


class Memory:
    """What the memory carries, in bytes a second: reads and writes of all cores together."""

    def __init__(self, folder):
        self.program = os.path.join(folder, "memory_rate")
        output_of(["cc", "-O2", os.path.join(HERE, "memory_rate.c"), "-o", self.program])

    def rate(self, arguments):
        return float(output_of([*arguments.prefix, self.program, str(os.cpu_count()), str(arguments.seconds)]))


def bytes_moved(collective, size, ranks):
    """Read and written by all ranks together, out of place, if every byte is touched as rarely as can be."""
    reads, writes = {"all_reduce": (ranks, ranks), "all_gather": (1, ranks), "broadcast": (1, ranks),
                     "reduce_scatter": (ranks, 1)}[collective]
    return (reads + writes) * size


def peers(tcp, folder):
    options = {"openmpi": ["--oversubscribe"], "mpich": []}
    if tcp:
        # Debian's MPICH has no way to leave shared memory out that is comparable.
        options = {"openmpi": ["--oversubscribe", "--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]}
    return [Mpi(name, folder, more) for name, more in options.items() if shutil.which(f"mpicc.{name}")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--tcp", action="store_true", help="each rank a node of its own, on loopback")
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1024)
    parser.add_argument("--last", type=int, default=256 << 20)
    parser.add_argument("--factor", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--collectives", default=",".join(COLLECTIVES))
    parser.add_argument("--prefix", type=shlex.split, default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(arguments.build, folder, ["--virtual-nodes", "{ranks}"] if arguments.tcp else [])
        libraries = [ours, *peers(arguments.tcp, folder)]
        memory = None if arguments.tcp else Memory(folder)
        print("| ranks | collective | bytes |", " | ".join(f"{one.name} us" for one in libraries), "| ours / best |",
              "of the memory's rate |" if memory else "")
        print("| --- " * (4 + len(libraries) + (memory is not None)) + "|")
        for ranks in (int(number) for number in arguments.ranks.split(",")):
            for collective in arguments.collectives.split(","):
                rounds, rates = [], []
                for _ in range(arguments.rounds):
                    rounds.append([one.times(arguments, collective, ranks) for one in libraries])
                    rates += [memory.rate(arguments)] if memory else []
                for size in rounds[0][0]:
                    times = [statistics.median(each[i][size] for each in rounds) for i in range(len(libraries))]
                    print(f"| {ranks} | {collective} | {size} |", " | ".join(f"{time:.2f}" for time in times),
                          f"| {times[0] / min(times[1:]):.2f} |", end="")
                    if memory:
                        moved = bytes_moved(collective, size, ranks) / (times[0] * 1e-6)
                        print(f" {moved / statistics.median(rates):.2f} |", end="")
                    print(flush=True)


main()
