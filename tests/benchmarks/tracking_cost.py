"""What the tracking of chunks costs: runs bench/link_cost and bench/link_cost_untracked in turn and prints medians.

    python3 tests/benchmarks/tracking_cost.py build [rounds] [filter]
"""
import json
import os
import statistics
import subprocess
import sys


def measure(program, pattern):
    done = subprocess.run([program, "--benchmark_format=json", "--benchmark_min_time=0.1",
                           f"--benchmark_filter={pattern}"], capture_output=True, text=True, check=True)
    # One thread does everything, so its processor time is what a put costs, also on a machine that is not idle.
    return {each["name"]: each["cpu_time"] for each in json.loads(done.stdout)["benchmarks"]}


def main():
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    pattern = sys.argv[3] if len(sys.argv) > 3 else "."
    with_it, without, ratios = {}, {}, {}
    for number in range(rounds):
        order = ["link_cost", "link_cost_untracked"]
        if number % 2:
            order.reverse()
        found = {name: measure(os.path.join(build, "bench", name), pattern) for name in order}
        for name in found["link_cost"]:
            tracked = found["link_cost"][name]
            plain = found["link_cost_untracked"][name]
            with_it.setdefault(name, []).append(tracked)
            without.setdefault(name, []).append(plain)
            ratios.setdefault(name, []).append(tracked / plain)
    print(f"{'':28} {'without ns':>12} {'with ns':>12} {'ratio':>7}   (medians of {rounds} rounds)")
    for name, values in ratios.items():
        print(f"{name:28} {statistics.median(without[name]):12.0f} {statistics.median(with_it[name]):12.0f} "
              f"{statistics.median(values):7.3f}")


if __name__ == "__main__":
    main()
