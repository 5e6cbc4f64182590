"""torch.distributed on railccl against gloo, both over TCP on loopback, fp32.

    python tests/benchmarks/against_gloo.py [--ranks 2,4] [--rounds 3]

Needs PyTorch and the railccl backend (bindings/torch) in the Python that runs it. Each rank counts as a node of its own
(RAILCCL_RANKS_PER_NODE=1), so that railccl uses its rails as gloo uses its sockets. The backends run in turn in each
round; printed are the medians over the rounds of the mean time of a collective, in microseconds, and ours over gloo's.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

COLLECTIVES = ("all_reduce", "all_gather", "broadcast")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def worker(backend, collective, sizes, seconds):
    import torch
    import torch.distributed as dist
    if backend == "railccl":
        import railccl_torch  # noqa: F401  (registers the backend)
    torch.set_num_threads(1)
    dist.init_process_group(backend)
    ranks = dist.get_world_size()
    times = {}
    for size in sizes:
        count = max(size // 4, ranks)
        data = torch.zeros(count)
        part = torch.zeros(count // ranks)
        whole = torch.zeros(count // ranks * ranks)
        parts = list(whole.chunk(ranks))
        call = {"all_reduce": lambda: dist.all_reduce(data), "broadcast": lambda: dist.broadcast(data, 0),
                "all_gather": lambda: dist.all_gather(parts, part)}[collective]

        def run(iterations):
            dist.barrier()
            begin = time.perf_counter()
            for _ in range(iterations):
                call()
            return (time.perf_counter() - begin) / iterations

        once = torch.tensor([run(3)])
        dist.broadcast(once, 0)
        iterations = min(max(int(seconds / once.item()), 3), 5000)
        run(max(iterations // 10, 1))
        mean = torch.tensor([run(iterations)])
        dist.all_reduce(mean)
        times[size] = mean.item() / ranks * 1e6
    if dist.get_rank() == 0:
        print(json.dumps(times))
    dist.barrier()
    dist.destroy_process_group()


def run_ranks(backend, collective, ranks, arguments):
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks),
                                "GLOO_SOCKET_IFNAME": "lo", "RAILCCL_SOCKET_IFNAME": "=lo",
                                "RAILCCL_RANKS_PER_NODE": "1"}
    command = [sys.executable, __file__, "--worker", backend, collective, arguments.sizes, str(arguments.seconds)]
    processes = [subprocess.Popen(command, env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                                  stdout=subprocess.PIPE, text=True) for rank in range(ranks)]
    outputs = [process.communicate(timeout=900)[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit(f"{backend} {collective}: a rank ended with an error")
    return {int(size): value for size, value in json.loads(outputs[0].splitlines()[-1]).items()}


def main():
    if "--worker" in sys.argv:
        backend, collective, sizes, seconds = sys.argv[2:]
        return worker(backend, collective, [int(size) for size in sizes.split(",")], float(seconds))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="8,1024,65536,1048576,16777216,268435456")
    parser.add_argument("--seconds", type=float, default=0.3)
    arguments = parser.parse_args()
    print("| ranks | collective | bytes | railccl us | gloo us | ours / gloo |")
    print("| --- | --- | --- | --- | --- | --- |")
    for ranks in (int(number) for number in arguments.ranks.split(",")):
        for collective in COLLECTIVES:
            rounds = [[run_ranks(backend, collective, ranks, arguments) for backend in ("railccl", "gloo")]
                      for _ in range(arguments.rounds)]
            for size in rounds[0][0]:
                ours, gloo = (statistics.median(each[i][size] for each in rounds) for i in range(2))
                print(f"| {ranks} | {collective} | {size} | {ours:.1f} | {gloo:.1f} | {ours / gloo:.2f} |", flush=True)
    return None


main()
