"""Trains a small network on scikit-learn's digits with DistributedDataParallel, on any torch.distributed backend.

Started by torchrun, tools/fabric-lab or mpirun: the rank and the meeting point come from the environment. Prints the loss of
each epoch, a digest of the parameters, the accuracy on held-out digits, and the time spent waiting for communication.

  --backend railccl|gloo
  --shard   ZeRO-style: gradients by ReduceScatter, parameters by AllGather, optimizer state split over the ranks
"""
import argparse
import hashlib
import os
import time

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn

SEED = 7


class Clock:
    """Adds up the time in communication."""

    def __init__(self):
        self.seconds = 0.0

    def wait(self, work):
        began = time.perf_counter()
        work.wait()
        self.seconds += time.perf_counter() - began


def environment():
    """Rank and size as torchrun or mpirun give them."""
    for rank, size in (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")):
        if rank in os.environ and size in os.environ:
            os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
            os.environ.setdefault("MASTER_PORT", "29555")
            return int(os.environ[rank]), int(os.environ[size])
    raise SystemExit("no rank in the environment: start it with torchrun, mpirun or tools/fabric-lab")


def load_data():
    digits = load_digits()
    features = torch.tensor(digits.data, dtype=torch.float32) / 16.0
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    features, labels = features[order], labels[order]
    return features[:1500], labels[:1500], features[1500:], labels[1500:]


def make_model():
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                         nn.Linear(512, 10))


def timed_hook(clock):
    """DDP's own AllReduce, with the time until it is over counted."""

    def hook(_, bucket):
        work = dist.all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True)
        clock.wait(work)
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    return hook


class ShardedSgd:
    """Each rank owns 1/n of the parameters and of the momentum (Rajbhandari et al., ZeRO, 2020)."""

    def __init__(self, model, rank, size, clock, rate=0.1, momentum=0.9):
        self.parameters = list(model.parameters())
        self.rank, self.size, self.clock = rank, size, clock
        self.rate, self.momentum = rate, momentum
        total = sum(parameter.numel() for parameter in self.parameters)
        self.shard = -(-total // size)
        self.flat = torch.zeros(self.shard * size)
        self.gradients = torch.zeros(self.shard * size)
        self.velocity = torch.zeros(self.shard)
        self._copy(self.flat, lambda parameter: parameter.data)

    def _copy(self, flat, source):
        at = 0
        for parameter in self.parameters:
            flat[at:at + parameter.numel()].copy_(source(parameter).reshape(-1))
            at += parameter.numel()

    def step(self):
        self._copy(self.gradients, lambda parameter: parameter.grad)
        mine = torch.empty(self.shard)
        self.clock.wait(dist.reduce_scatter_tensor(mine, self.gradients, async_op=True))
        begin = self.rank * self.shard
        owned = self.flat[begin:begin + self.shard].clone()
        self.velocity.mul_(self.momentum).add_(mine / self.size)
        owned.sub_(self.velocity, alpha=self.rate)
        self.clock.wait(dist.all_gather_into_tensor(self.flat, owned, async_op=True))
        at = 0
        for parameter in self.parameters:
            parameter.data.copy_(self.flat[at:at + parameter.numel()].view_as(parameter))
            parameter.grad = None
            at += parameter.numel()


def train(options, rank, size):
    features, labels, test_features, test_labels = load_data()
    clock = Clock()
    model = make_model()
    loss_of = nn.CrossEntropyLoss()
    if options.shard:
        runner, optimizer = model, ShardedSgd(model, rank, size, clock)
    else:
        runner = nn.parallel.DistributedDataParallel(model, bucket_cap_mb=1)
        runner.register_comm_hook(None, timed_hook(clock))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    began = time.perf_counter()
    for epoch in range(options.epochs):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED + epoch))
        total = torch.zeros(1, dtype=torch.float64)
        steps = 0
        for batch in order.split(options.batch * size):
            mine = batch[rank::size]
            if len(batch) < options.batch * size:
                continue
            loss = loss_of(runner(features[mine]), labels[mine])
            loss.backward()
            optimizer.step()
            if not options.shard:
                optimizer.zero_grad()
            total += loss.detach().double()
            steps += 1
        dist.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch + 1} loss {total.item() / (steps * size):.12f}", flush=True)
    seconds = time.perf_counter() - began
    accuracy = (model(test_features).argmax(1) == test_labels).float().mean().item()
    if rank == 0:
        parameters = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
        print(f"parameters {hashlib.sha256(parameters).hexdigest()}", flush=True)
        print(f"accuracy {accuracy:.4f} backend {options.backend} ranks {size} "
              f"time {seconds:.2f} s in communication {clock.seconds:.2f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backend", choices=["railccl", "gloo"], default="railccl")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=25, help="per rank")
    parser.add_argument("--shard", action="store_true")
    options = parser.parse_args()
    if options.backend == "railccl":
        import railccl_torch  # noqa: F401  registers the backend
    torch.set_num_threads(1)
    rank, size = environment()
    dist.init_process_group(options.backend, rank=rank, world_size=size)
    train(options, rank, size)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
