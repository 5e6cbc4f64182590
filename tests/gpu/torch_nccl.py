"""PyTorch's own NCCL backend on this library: two processes that share a GPU.

    LD_PRELOAD=.../librailccl.so.1 torch_nccl.py

Data parallel training must give, bit for bit, the same model on both ranks, and the loss of one process with the
whole batch. Prints which library served it. Exits with 77 and a reason where there is no GPU.
"""
import os
import sys


def collectives(rank, ranks):
    small = torch.arange(1_000_000) % 13
    data = (small + rank).to(torch.bfloat16).cuda()
    dist.all_reduce(data)
    assert torch.equal(data.cpu().long(), sum(small + r for r in range(ranks)))
    parts = [torch.empty(5, device="cuda") for _ in range(ranks)]
    dist.all_gather(parts, torch.full((5,), float(rank), device="cuda"))
    assert [part[4].item() for part in parts] == list(range(ranks))
    work = dist.all_reduce(torch.ones(1 << 22, device="cuda"), async_op=True)
    work.wait()
    out = torch.empty(ranks, device="cuda")
    dist.all_to_all_single(out, torch.arange(ranks, device="cuda", dtype=torch.float32) + 10 * rank)
    assert out.tolist() == [10.0 * r + rank for r in range(ranks)]
    peer = 1 - rank
    got = torch.empty(1000, device="cuda")
    sent = torch.full((1000,), float(rank), device="cuda")
    for request in dist.batch_isend_irecv([dist.P2POp(dist.isend, sent, peer), dist.P2POp(dist.irecv, got, peer)]):
        request.wait()
    assert got.eq(peer).all()
    shard = torch.empty(3, device="cuda")
    dist.reduce_scatter_tensor(shard, torch.ones(3 * ranks, device="cuda"), op=dist.ReduceOp.AVG)
    assert shard.eq(1).all()
    group = dist.new_group([0, 1])
    dist.broadcast(got, src=0, group=group)
    dist.barrier()
    assert got.eq(1).all()  # what rank 0 had from rank 1


def model():
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)).cuda()


def train(network, batch, target, steps=20):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(network(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def training(rank, ranks):
    torch.manual_seed(7)
    batch = torch.randn(256, 64, device="cuda")
    target = torch.randint(0, 10, (256,), device="cuda")
    network = torch.nn.parallel.DistributedDataParallel(model())
    losses = train(network, batch.chunk(ranks)[rank], target.chunk(ranks)[rank])
    dist.all_reduce(losses, op=dist.ReduceOp.AVG)
    alone = train(model(), batch, target)
    assert torch.allclose(losses, alone, rtol=1e-4), (losses, alone)
    flat = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    all_flat = [torch.empty_like(flat) for _ in range(ranks)]
    dist.all_gather(all_flat, flat)
    assert all(torch.equal(flat, other) for other in all_flat)
    return losses[0].item(), losses[-1].item()


def worker(rank, ranks, port):
    torch.cuda.set_device(0)
    dist.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    collectives(rank, ranks)
    first, last = training(rank, ranks)
    if rank == 0:
        version = ctypes.CDLL(None).railcclVersion
        version.restype = ctypes.c_char_p
        print(f"PyTorch {torch.__version__} on RailCCL {version().decode()}, {torch.cuda.get_device_name()}: "
              f"collectives right, loss {first:.4f} to {last:.4f} as one process alone")
    dist.destroy_process_group()


def main():
    if not torch.cuda.is_available():
        print("SKIP: no GPU")
        return 77
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(worker, args=(2, port), nprocs=2)
    print("passed")
    return 0


try:
    import ctypes
    import socket
    import torch
    import torch.distributed as dist
except ImportError:
    print("SKIP: no PyTorch")
    sys.exit(77)
if __name__ == "__main__":
    os.environ.setdefault("RAILCCL_SOCKET_IFNAME", "lo")
    sys.exit(main())
