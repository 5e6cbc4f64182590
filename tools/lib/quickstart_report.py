"""Says what a perftest result file shows: right or wrong, what each rail carried, where the time went."""
import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    wrong = report["out_of_bounds"]["count"]
    print("\n== what happened")
    print(f"every element checked: {wrong} wrong")
    for rail in report["rails"]:
        print(f"rank {rail['rank']} {rail['transport']} {rail['name']}: {rail['bytes'] / 1e6:.0f} MB "
              f"({100 * rail['share']:.0f} %), {rail['failures']} failures, "
              f"{rail['recoveries']} recoveries, longest stall {rail['stall_ms_max']:.0f} ms")
    for result in report["results"]:
        times = result["out_of_place"].get("time_us")
        if times:
            shown = ", ".join(f"{name} {value / 1000:.1f} ms" for name, value in times.items()
                              if isinstance(value, (int, float)))
            print(f"time of one AllReduce of {result['size']} bytes: {shown}")
    failures = sum(rail["failures"] for rail in report["rails"])
    recoveries = sum(rail["recoveries"] for rail in report["rails"])
    if wrong or not failures or not recoveries:
        print("this is not what it should show: a failure and a recovery, and nothing wrong")
        return 1
    print("""
== next
1. Unequal rails:      tools/fabric-lab run --nodes 2 --rails 2 --rate 1000,500 -- build/bin/all_reduce_perf -b 64M -e 64M --rails
2. Inside one machine: build/bin/all_reduce_perf --local 4 -b 8 -e 64M -f 4
3. Why it chose what:  build/bin/railccl_explain --local 4      (settings: build/bin/railccl_info --env)""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
