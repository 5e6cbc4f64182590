"""How long an AllReduce is held up when a rail is cut, and how fast the ones after it are.

    python3 stalls.py BUILD SOURCE [CUTS [RATE [SEED]]]

AllReduce of 64 MiB in a loop over two nodes with two rails of RATE Mbit/s (1000), every element checked; CUTS times
(20) one side of one rail, drawn at random, goes down at a random moment for 1.5 s. Printed are distributions over the cuts:

- longest less median: the longest operation that a cut or its end touches, less the median of those that none touches.
  At 1000 Mbit/s an operation takes 281 ms over both rails and 563 ms over one: 282 ms are the bandwidth that is gone.
- beyond one rail: the same operation, less what it takes over one rail from its begin to its end.
- stall: the operation during which the cut came, less what it would have taken had it lost nothing but the bandwidth of
  the rail, from the moment on when the lab's `ip link set down` had returned.
- on one rail: the rate of the operations that lie inside a cut, against half of the median rate.
- back after: from the end of a cut to the end of the first operation that reached 95 % of the median rate.
"""
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time

CUTS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
RATE = sys.argv[4] if len(sys.argv) > 4 else "1000"
SEED = int(sys.argv[5]) if len(sys.argv) > 5 else 11
sys.argv = sys.argv[:3]
import support  # noqa: E402  (takes its folders from the command line)

RANK_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stall_rank.py")
FIRST_S, LENGTH_S, PAUSE_S = 3.0, 1.5, 1.7


def plan():
    """[(seconds, cut option)]"""
    chooser = random.Random(SEED)
    at = FIRST_S
    for _ in range(CUTS):
        at += chooser.uniform(0, 0.6)
        yield at, f"--cut={chooser.randrange(2)}:{chooser.randrange(2)}@{at:.3f}+{LENGTH_S}"
        at += LENGTH_S + PAUSE_S


def run():
    """((begin, end) of each operation, (down, up) of each cut), in seconds of one clock."""
    cuts = list(plan())
    command = [os.path.join(support.SOURCE, "tools", "fabric-lab"), "run", "--nodes", "2", "--rails", "2",
               "--rate", RATE, *[option for _, option in cuts], "--", sys.executable, "-B", RANK_PROGRAM, support.BUILD,
               str(cuts[-1][0] + LENGTH_S + PAUSE_S)]
    times, down, up, output = [], [], [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as lab:
        for line in lab.stdout:
            output.append(line)
            if re.match(r"\[lab\] .*: cut", line):
                down.append(time.monotonic())
            elif re.match(r"\[lab\] .*: restore", line):
                up.append(time.monotonic())
            elif line.startswith('[0] {"times"'):
                times = json.loads(line[4:])["times"]
    if lab.returncode != 0 or not times:
        sys.exit("".join(output))
    return times, list(zip(down, up))


def ideal_s(begin, work, down):
    """How long `work` takes that is measured in seconds of both rails, with one of them away from `down` on."""
    on_both = min(max(down - begin, 0), work)
    return on_both + 2 * (work - on_both)


def line(name, values, unit, digits=0):
    values = sorted(values)
    picked = [statistics.median(values), values[int(0.9 * (len(values) - 1))], values[0], values[-1]]
    texts = [f"{value:.{digits}f} {unit}" for value in picked]
    print(f"{name:22} median {texts[0]}, nine of ten {texts[1]}, least {texts[2]}, most {texts[3]}")


def main():
    times, cuts = run()
    quiet = [end - begin for begin, end in times if not any(begin < up + 0.5 and end > down for down, up in cuts)]
    median = statistics.median(quiet)
    longest, beyond, stalls, on_one, back = [], [], [], [], []
    for down, up in cuts:
        held_up = [(begin, end) for begin, end in times if begin < up and end > down]
        longest.append(max(end - begin for begin, end in held_up) - median)
        beyond.append(longest[-1] - median)
        stalls += [end - begin - ideal_s(begin, median, down) for begin, end in held_up if begin < down]
        on_one += [2 * median / (end - begin) for begin, end in held_up if begin > down and end < up]
        back.append(min(end - up for begin, end in times if end > up and end - begin <= median / 0.95))
    print(f"{len(cuts)} cuts, {len(times)} operations of 64 MiB over two rails of {RATE} Mbit/s, "
          f"median {1e3 * median:.0f} ms")
    line("longest less median", [1e3 * value for value in longest], "ms")
    line("beyond one rail", [1e3 * value for value in beyond], "ms")
    line("stall", [1e3 * value for value in stalls], "ms")
    if on_one:
        line("on one rail", [100 * value for value in on_one], "%")
    line("back after", back, "s", 2)


main()
