"""How long an AllReduce is held up when a rail is cut: the distribution over many runs in the lab.

    python3 tests/lab/stalls.py BUILD SOURCE [RUNS]

Each run is four seconds of AllReduce of 64 MiB over two nodes with two rails, every element checked; one side of one
rail, drawn at random, goes down at a random time and comes back a second later. Printed is the distribution of the
longest operation less the median one, and what is wrong with a run that did not see its failure and its recovery.
"""
import os
import random
import statistics
import sys
import tempfile

RUNS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
sys.argv = sys.argv[:3]
import support  # noqa: E402  (takes its folders from the command line)


def one_run(chooser, report):
    cut = f"{chooser.randrange(2)}:{chooser.randrange(2)}@{chooser.uniform(1, 2):.2f}+1"
    code, output = support.lab(
        ["--nodes", "2", "--rails", "2", "--rate", "1000", "--cut", cut],
        [os.path.join(support.BIN, "all_reduce_perf"), "-b", "64M", "-e", "64M", "-n", "1", "--seconds", "4", "--rails",
         "-J", report])
    if code != 0:
        sys.exit(f"--cut {cut}:\n{output}")
    result = support.read_report(report)
    os.remove(report)
    seen = [sum(rail[what] for rail in result["rails"]) for what in ("failures", "recoveries")]
    if min(seen) == 0:
        print(f"--cut {cut}: {seen[0]} failures, {seen[1]} recoveries")
    return [times["max"] - times["p50"] for times in result["results"][0]["time_us"].values()]


def main():
    chooser = random.Random(11)
    with tempfile.TemporaryDirectory() as folder:
        stalls = sorted(max(one_run(chooser, os.path.join(folder, "out.json"))) / 1e3 for _ in range(RUNS))
    print(f"{RUNS} cuts: stall of the longest operation {statistics.median(stalls):.0f} ms in the median, "
          f"{stalls[int(0.9 * (RUNS - 1))]:.0f} ms in nine of ten, {stalls[-1]:.0f} ms at most")


main()
