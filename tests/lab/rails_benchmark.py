"""Several rails together against a plain TCP sender on each of them alone, in the lab.

    python3 tests/lab/rails_benchmark.py BUILD SOURCE [ROUNDS]

Each round runs the plain sender and then each collective, so that both see the same machine. Prints, for each set of
rails, the median over the rounds of bus bandwidth over the sum of the plain sender's rates.
"""
import os
import re
import statistics
import sys

ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
sys.argv = sys.argv[:3]
import support  # noqa: E402  (takes its folders from the command line)

HERE = os.path.dirname(os.path.abspath(__file__))
SETS = ("1000", "1000,500", "800,800", "400,300,200,100")
COLLECTIVES = ("all_reduce", "all_gather", "broadcast")


def lab(rates, command):
    rails = str(rates.count(",") + 1)
    code, output = support.lab(["--nodes", "2", "--rails", rails, "--rate", rates], command)
    if code != 0:
        sys.exit(output)
    return output


def plain(rates):
    output = lab(rates, [sys.executable, os.path.join(HERE, "plain_tcp.py"), str(128 << 20)])
    numbers = re.search(r"\[([0-9., ]+)\]}", output).group(1)
    return sum(float(number) for number in numbers.split(","))


def collective(rates, name):
    output = lab(rates, [os.path.join(support.BIN, f"{name}_perf"), "-b", "64M", "-e", "64M", "-n", "8", "-w", "2",
                         "-c", "0"])
    return float(re.search(r"Avg bus bandwidth\s*:\s*([0-9.]+)", output).group(1)) * 1e9


def main():
    print("| rails, Mbit/s | plain TCP, sum, MB/s |", " | ".join(COLLECTIVES), "|")
    print("| --- " * (2 + len(COLLECTIVES)) + "|")
    for rates in SETS:
        sums = []
        ratios = {name: [] for name in COLLECTIVES}
        for _ in range(ROUNDS):
            sums.append(plain(rates))
            for name in COLLECTIVES:
                ratios[name].append(collective(rates, name) / sums[-1])
        cells = [f"{100 * statistics.median(ratios[name]):.1f} % ({100 * min(ratios[name]):.1f})"
                 for name in COLLECTIVES]
        print(f"| {rates} | {statistics.median(sums) / 1e6:.1f} |", " | ".join(cells), "|", flush=True)


main()
