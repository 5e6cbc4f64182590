"""One rank of a process group in which something goes wrong; what it gets is printed as "caught: TYPE: TEXT".

    python3 torch_failures.py SCENARIO     started by fabric-lab
"""
import datetime
import os
import signal
import sys
import threading
import time

import torch
import torch.distributed as dist

import railccl_torch  # noqa: F401  registers the backend

COUNT = 100_000
CPU = torch.device("cpu")


def expect_failure(action):
    try:
        action()
    except RuntimeError as error:
        print(f"caught: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
    else:
        raise AssertionError("nothing went wrong")


def reduce():
    """The first one starts the connections."""
    dist.all_reduce(torch.ones(COUNT))


def reduce_for_ever():
    while True:
        reduce()


def own_backend():
    return dist.group.WORLD._get_backend(CPU)


def death(rank, size):
    """The last rank dies; the others make a group without it."""
    reduce()
    if rank == size - 1:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    expect_failure(reduce_for_ever)
    rest = dist.new_group(list(range(size - 1)), use_local_synchronization=True)
    tensor = torch.full((COUNT,), float(rank + 1))
    dist.all_reduce(tensor, group=rest)
    assert torch.equal(tensor, torch.full((COUNT,), size * (size - 1) / 2)), tensor
    print("went on", flush=True)


def abort(rank, size):
    """The last rank aborts, in another thread than the one that waits."""
    reduce()
    if rank == size - 1:
        threading.Timer(0.3, lambda: own_backend().abort()).start()
    expect_failure(reduce_for_ever)


def timeout(rank, size):
    """The last rank does not come to an operation."""
    reduce()
    if rank == size - 1:
        time.sleep(4)
    else:
        dist.distributed_c10d._get_default_group()
        expect_failure(lambda: dist.all_reduce(torch.ones(COUNT), async_op=True).wait(datetime.timedelta(seconds=1)))


def forgotten(rank, _):
    """Nobody destroys the group; the last operations are still being looked after when the script ends."""
    tensors = [torch.full((COUNT,), float(rank)) for _ in range(20)]
    works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    works[-1].wait()
    print(f"sum {tensors[-1][0].item():.0f}", flush=True)
    time.sleep(0.2 * (rank % 2))


def dropped(rank, size):
    """A callback of a future waits for its own work, and destroys the group, in the thread that completes it."""
    for _ in range(5):
        groups = [dist.new_group(list(range(size)))]
        tensor = torch.ones(4)
        works = [dist.all_reduce(tensor, group=groups[0], async_op=True)]
        future = works[0].get_future()
        ended = threading.Event()

        def destroy(_future, groups=groups, works=works, ended=ended):
            works.pop().wait()
            dist.destroy_process_group(groups.pop())
            ended.set()
        after = future.then(destroy)
        del future
        if not ended.wait(20):
            raise RuntimeError("the callback was not called")
        after.wait()
    dist.destroy_process_group()
    print(f"sum {tensor[0].item():.0f}", flush=True)


def unwaited(rank, size):
    """A group is destroyed while its last operations are under way and nobody waits for them."""
    for _ in range(5):
        group = dist.new_group(list(range(size)))
        fired = threading.Semaphore(0)
        tensors = [torch.full((COUNT,), float(rank)) for _ in range(20)]
        for tensor in tensors:
            work = dist.all_reduce(tensor, group=group, async_op=True)
            work.get_future().then(lambda _future, fired=fired: fired.release())
        del work
        dist.destroy_process_group(group)
        for number in range(len(tensors)):
            if not fired.acquire(timeout=20):
                raise RuntimeError(f"{number} of {len(tensors)} futures have fired")
    dist.destroy_process_group()
    print(f"sum {tensors[-1][0].item():.0f}", flush=True)


def broken_off(rank, size):
    """A shutdown waits for a rank that does not come, until another thread aborts, twice."""
    reduce()
    if rank == size - 1:
        time.sleep(5)
        return
    backend = own_backend()
    future = dist.all_reduce(torch.ones(COUNT), async_op=True).get_future()
    for pause in (0.5, 0.6):
        threading.Timer(pause, backend.abort).start()
    dist.destroy_process_group()
    expect_failure(future.wait)


def premultiplied(rank, size):
    """Operators of coalesced works that nobody waits for go before their communicator."""
    for _ in range(5):
        group = dist.new_group(list(range(size)))
        tensors = [torch.full((COUNT,), float(rank)) for _ in range(4)]
        with dist.distributed_c10d._coalescing_manager(group=group, device=CPU, async_ops=True):
            for tensor in tensors:
                dist.all_reduce(tensor, op=dist._make_nccl_premul_sum(2.0), group=group)
        dist.destroy_process_group(group)
    dist.destroy_process_group()
    print(f"sum {tensors[-1][0].item():.0f}", flush=True)


def disagreement(rank, size):
    """The last rank calls something else; a rank may hear of it while it is still in the operation before."""
    def differ():
        reduce()
        if rank == size - 1:
            dist.all_gather_into_tensor(torch.empty(COUNT * size), torch.ones(COUNT))
        else:
            reduce()
        reduce_for_ever()
    expect_failure(differ)


def main():
    dist.init_process_group("railccl", timeout=datetime.timedelta(seconds=30))
    rank, size = dist.get_rank(), dist.get_world_size()
    scenarios = (death, abort, timeout, forgotten, dropped, unwaited, broken_off, premultiplied, disagreement)
    {each.__name__: each for each in scenarios}[sys.argv[1]](rank, size)
    if not dist.is_initialized() or sys.argv[1] == forgotten.__name__:
        return
    own_backend().abort()
    sys.stdout.flush()
    os._exit(0)  # what is left of a broken job is not worth a goodbye


if __name__ == "__main__":
    main()
