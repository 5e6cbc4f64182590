"""What the tracking of chunks costs: runs bench/link_cost and bench/link_cost_untracked in turn and prints medians.

    python3 tests/benchmarks/tracking_cost.py build [rounds [filter [cpu_time|real_time]]]

cpu_time (the default): one thread does everything, so its processor time is what a put costs, also on a machine that is
not idle. real_time: the throughput where something else is the limit, e.g. a loopback with the rate of a rail:

    unshare -n sh -c 'ip link set lo up; tc qdisc add dev lo root tbf rate 8gbit burst 2m limit 8m
                      python3 tests/benchmarks/tracking_cost.py build 9 stream/tcp real_time'
"""
import json
import os
import statistics
import subprocess
import sys


def measure(program, pattern, which_time):
    done = subprocess.run([program, "--benchmark_format=json", "--benchmark_min_time=0.1",
                           f"--benchmark_filter={pattern}"], capture_output=True, text=True, check=True)
    return {each["name"]: each[which_time] for each in json.loads(done.stdout)["benchmarks"]}


def main():
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    pattern = sys.argv[3] if len(sys.argv) > 3 else "."
    which_time = sys.argv[4] if len(sys.argv) > 4 else "cpu_time"
    with_it, without, ratios = {}, {}, {}
    for number in range(rounds):
        order = ["link_cost", "link_cost_untracked"]
        if number % 2:
            order.reverse()
        found = {name: measure(os.path.join(build, "bench", name), pattern, which_time) for name in order}
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
