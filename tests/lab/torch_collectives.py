"""One rank of a process group: every collective of torch.distributed on the railccl backend, against arithmetic done here."""
import datetime
import math

import torch
import torch.distributed as dist

import railccl_torch  # noqa: F401  registers the backend


def value(rank, count=1000):
    return torch.arange(count, dtype=torch.float32) % 17 + rank


def check(found, expected):
    assert torch.equal(found, expected), (found, expected)


def reductions(rank, size):
    ranks = [value(r) for r in range(size)]
    for op, expected in ((dist.ReduceOp.SUM, sum(ranks)), (dist.ReduceOp.AVG, sum(ranks) / size),
                         (dist.ReduceOp.MAX, ranks[-1]), (dist.ReduceOp.MIN, ranks[0])):
        tensor = value(rank)
        dist.all_reduce(tensor, op)
        check(tensor, expected)
    tensor = value(rank)
    dist.reduce(tensor, dst=1)
    if rank == 1:
        check(tensor, sum(ranks))
    for kind in (torch.int64, torch.float64, torch.bfloat16, torch.float16, torch.uint8):
        tensor = torch.full((100,), rank + 1, dtype=kind)
        dist.all_reduce(tensor)
        check(tensor, torch.full((100,), size * (size + 1) // 2, dtype=kind))
    tensor = torch.full((10,), rank + 1, dtype=torch.int32)
    dist.all_reduce(tensor, dist.ReduceOp.PRODUCT)
    check(tensor, torch.full((10,), math.factorial(size), dtype=torch.int32))
    tensor = value(rank)
    dist.all_reduce(tensor, dist._make_nccl_premul_sum(2.0))
    check(tensor, 2 * sum(ranks))
    flags = torch.tensor([rank == 0, False])
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    check(flags, torch.tensor([True, False]))
    transposed = value(rank).reshape(50, 20).t()
    dist.all_reduce(transposed)
    check(transposed, sum(ranks).reshape(50, 20).t())
    output = torch.empty(1000)
    dist.reduce_scatter_tensor(output, torch.cat([value(rank + r) for r in range(size)]))
    check(output, sum(value(r + rank) for r in range(size)))
    output = torch.empty(1000)
    dist.reduce_scatter_tensor(output, torch.cat([value(rank + r) for r in range(size)]), dist.ReduceOp.AVG)
    check(output, sum(value(r + rank) for r in range(size)) / size)
    output = torch.empty(1000)
    dist.reduce_scatter(output, [value(rank + r) for r in range(size)])
    check(output, sum(value(r + rank) for r in range(size)))


def moves(rank, size):
    tensor = value(rank)
    dist.broadcast(tensor, src=size - 1)
    check(tensor, value(size - 1))
    outputs = [torch.empty(1000) for _ in range(size)]
    dist.all_gather(outputs, value(rank))
    check(torch.stack(outputs), torch.stack([value(r) for r in range(size)]))
    outputs = [torch.empty(10 * (r + 1)) for r in range(size)]
    dist.all_gather(outputs, value(rank, 10 * (rank + 1)))
    for r, output in enumerate(outputs):
        check(output, value(r, 10 * (r + 1)))
    output = torch.empty(1000 * size)
    dist.all_gather_into_tensor(output, value(rank))
    check(output, torch.cat([value(r) for r in range(size)]))
    gathered = [torch.empty(1000) for _ in range(size)] if rank == 0 else None
    dist.gather(value(rank), gathered, dst=0)
    if rank == 0:
        check(torch.stack(gathered), torch.stack([value(r) for r in range(size)]))
    part = torch.empty(1000)
    dist.scatter(part, [value(10 * r) for r in range(size)] if rank == 0 else None, src=0)
    check(part, value(10 * rank))
    outputs = [torch.empty(1000) for _ in range(size)]
    dist.all_to_all(outputs, [value(rank * 10 + r) for r in range(size)])
    check(torch.stack(outputs), torch.stack([value(r * 10 + rank) for r in range(size)]))
    output = torch.empty(2 * size)
    dist.all_to_all_single(output, torch.arange(2 * size, dtype=torch.float32) + 100 * rank)
    check(output, torch.cat([torch.arange(2 * rank, 2 * rank + 2) + 100.0 * r for r in range(size)]))
    splits = [r + 1 for r in range(size)]
    output = torch.empty((rank + 1) * size)
    dist.all_to_all_single(output, torch.full((sum(splits),), float(rank)), [rank + 1] * size, splits)
    check(output, torch.cat([torch.full((rank + 1,), float(r)) for r in range(size)]))


def transfers(rank, size):
    right, left = (rank + 1) % size, (rank - 1) % size
    for count in (4, 300_000):
        received = torch.empty(count)
        works = [dist.isend(value(rank, count), right), dist.irecv(received, left)]
        for work in works:
            work.wait()
        check(received, value(left, count))
        received = torch.empty(count)
        for work in dist.batch_isend_irecv([dist.P2POp(dist.isend, value(rank, count), right),
                                            dist.P2POp(dist.irecv, received, left)]):
            work.wait()
        check(received, value(left, count))


def objects(rank, size):
    """What is pickled travels as bytes whose number differs from rank to rank."""
    def thing(r):
        return {"rank": r, "text": "x" * (100 * r)}
    found = [None] * size
    dist.all_gather_object(found, thing(rank))
    assert found == [thing(r) for r in range(size)], found
    gathered = [None] * size if rank == 1 else None
    dist.gather_object(thing(rank), gathered, dst=1)
    assert rank != 1 or gathered == [thing(r) for r in range(size)], gathered
    listed = [thing(7), "end"] if rank == 0 else [None, None]
    dist.broadcast_object_list(listed, src=0)
    assert listed == [thing(7), "end"], listed
    mine = [None]
    dist.scatter_object_list(mine, [thing(r + 1) for r in range(size)] if rank == 0 else None, src=0)
    assert mine == [thing(rank + 1)], mine


def coalesced(rank, size):
    """Several operations that end together."""
    tensors = [value(rank + i) for i in range(3)]
    with dist._coalescing_manager(async_ops=True) as manager:
        for tensor in tensors:
            dist.all_reduce(tensor)
    manager.wait()
    for i, tensor in enumerate(tensors):
        check(tensor, sum(value(r + i) for r in range(size)))
    outputs = [torch.empty(1000 * size) for _ in range(2)]
    with dist._coalescing_manager():
        for i, output in enumerate(outputs):
            dist.all_gather_into_tensor(output, value(rank + i))
    for i, output in enumerate(outputs):
        check(output, torch.cat([value(r + i) for r in range(size)]))
    device = torch.device("cpu")
    # What is itself several operations, and what nobody may wait for within the group.
    tensor, parts = value(rank), [torch.empty(each + 1) for each in range(size)]
    with dist._coalescing_manager(device=device, async_ops=True) as manager:
        dist.all_reduce(tensor)
        dist.all_gather(parts, torch.full((rank + 1,), float(rank)))
    manager.wait()
    check(tensor, sum(value(r) for r in range(size)))
    for each, part in enumerate(parts):
        check(part, torch.full((each + 1,), float(each)))
    with dist._coalescing_manager(device=device):
        pass
    # One that is refused leaves nothing behind.
    try:
        averages = dist.AllreduceCoalescedOptions()
        averages.reduceOp = dist.ReduceOp.AVG
        dist.group.WORLD._get_backend(device).allreduce_coalesced([value(rank), torch.zeros(3, dtype=torch.bool)], averages)
    except RuntimeError:
        tensor = value(rank)
        dist.all_reduce(tensor)
        check(tensor, sum(value(r) for r in range(size)))
    else:
        raise AssertionError("an average of truth values")


def futures(rank, size):
    tensors = [value(rank) for _ in range(5)]
    works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    for work in works:
        check(work.get_future().wait()[0], sum(value(r) for r in range(size)))
        assert work.is_completed()
    dist.barrier()


def subgroups(rank, size):
    group = dist.new_group([0, size - 1])
    if rank in (0, size - 1):
        tensor = torch.ones(10)
        dist.all_reduce(tensor, group=group)
        check(tensor, torch.full((10,), 2.0))


def errors():
    try:
        dist.all_reduce(torch.zeros(4, dtype=torch.int16))
    except RuntimeError as error:
        assert "railccl" in str(error) and "Short" in str(error), error
    else:
        raise AssertionError("int16 was taken")


def main():
    dist.init_process_group("railccl", timeout=datetime.timedelta(seconds=60))
    rank, size = dist.get_rank(), dist.get_world_size()
    assert dist.get_backend() == "railccl"
    reductions(rank, size)
    moves(rank, size)
    transfers(rank, size)
    objects(rank, size)
    coalesced(rank, size)
    futures(rank, size)
    subgroups(rank, size)
    errors()
    print("all collectives right", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
