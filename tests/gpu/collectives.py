"""Collectives on memory of a real GPU, through the C API: ranks are threads of this process and share the GPU.

    collectives.py BUILD [--speed | --only-speed]

Every result is compared with what PyTorch computes. Exits with 77 and a reason where there is no GPU.
"""
import ctypes
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import rank_library  # noqa: E402

SUM, PROD, MAX, MIN, AVG = 0, 1, 2, 3, 4
POINTER, INTEGER, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def load(build):
    library = rank_library.load(build)
    for name, arguments in {
            "ncclGetUniqueId": [ctypes.POINTER(rank_library.UniqueId)],
            "ncclAllGather": [POINTER, POINTER, SIZE, INTEGER, POINTER, POINTER],
            "ncclReduceScatter": [POINTER, POINTER, SIZE, INTEGER, INTEGER, POINTER, POINTER],
            "ncclSend": [POINTER, SIZE, INTEGER, INTEGER, POINTER, POINTER],
            "ncclRecv": [POINTER, SIZE, INTEGER, INTEGER, POINTER, POINTER],
            "ncclRedOpCreatePreMulSum": [ctypes.POINTER(INTEGER), POINTER, INTEGER, INTEGER, POINTER],
            "ncclRedOpDestroy": [INTEGER, POINTER],
            "ncclCommCuDevice": [POINTER, ctypes.POINTER(INTEGER)],
    }.items():
        getattr(library, name).argtypes = arguments
    return library


class Rank:
    """One rank's communicator and stream."""

    def __init__(self, library, comm, rank, ranks, barrier):
        self.library, self.comm, self.rank, self.ranks, self.meet = library, comm, rank, ranks, barrier.wait
        self.stream = torch.cuda.Stream()

    def check(self, code):
        assert code == 0, f"rank {self.rank}: {code}: {self.library.ncclGetLastError(self.comm).decode()}"

    def all_reduce(self, source, target, op=SUM, stream=None):
        self.check(self.library.ncclAllReduce(source.data_ptr(), target.data_ptr(), source.numel(),
                                              TYPES[source.dtype], op, self.comm,
                                              (stream or self.stream).cuda_stream))


def run_ranks(library, ranks, body):
    unique_id = rank_library.UniqueId()
    assert library.ncclGetUniqueId(ctypes.byref(unique_id)) == 0
    barrier = threading.Barrier(ranks)

    def run(rank):
        try:
            torch.cuda.set_device(0)
            comm = POINTER()
            code = library.ncclCommInitRank(ctypes.byref(comm), ranks, unique_id, rank)
            assert code == 0, library.ncclGetLastError(None).decode()
            body(Rank(library, comm, rank, ranks, barrier))
            assert library.ncclCommDestroy(comm) == 0
        except BaseException as failure:  # pylint: disable=broad-except
            os.write(2, f"rank {rank}: {failure!r}\n".encode())
            os._exit(1)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a rank hangs"


def values(dtype, count, rank):
    generator = torch.Generator().manual_seed(rank)
    whole = torch.randint(-7, 8, (count,), generator=generator)
    return whole.abs().to(dtype) if dtype == torch.uint8 else whole.to(dtype)


def expected(dtype, count, ranks, op):
    stacked = torch.stack([values(dtype, count, r).to(torch.float64) for r in range(ranks)])
    return {SUM: stacked.sum(0), MAX: stacked.max(0).values, MIN: stacked.min(0).values}[op].to(dtype)


def all_types(self):
    for dtype in TYPES:
        for count in (1, 1001, 3_000_001):
            for op in (SUM, MAX, MIN):
                source = values(dtype, count, self.rank).cuda()
                target = torch.empty_like(source)
                torch.cuda.current_stream().synchronize()
                self.all_reduce(source, target, op)
                self.stream.synchronize()
                want = expected(dtype, count, self.ranks, op)
                assert torch.equal(target.cpu(), want), f"{dtype} {count} {op}"


def in_stream_order(self):
    """Work before and behind the call in the same stream, with no synchronisation between."""
    with torch.cuda.stream(self.stream):
        data = torch.zeros(1 << 20, device="cuda")
        for step in range(50):
            data.fill_(self.rank + step)
            self.all_reduce(data, data)
            data.mul_(2)
            want = 2 * sum(r + step for r in range(self.ranks))
            assert data[12345].item() == want, f"step {step}"


def gather_and_scatter(self):
    count = 500_003
    part = values(torch.float32, count, self.rank).cuda()
    whole = torch.empty(count * self.ranks, device="cuda")
    torch.cuda.current_stream().synchronize()
    self.check(self.library.ncclAllGather(part.data_ptr(), whole.data_ptr(), count, 7, self.comm,
                                          self.stream.cuda_stream))
    self.check(self.library.ncclReduceScatter(whole.data_ptr(), part.data_ptr(), count, 7, SUM, self.comm,
                                              self.stream.cuda_stream))
    self.stream.synchronize()
    want = torch.cat([values(torch.float32, count, r) for r in range(self.ranks)])
    assert torch.equal(whole.cpu(), want)
    assert torch.equal(part.cpu(), values(torch.float32, count, self.rank) * self.ranks)


def all_to_all_by_sends(self):
    count = 2_000_001
    out = torch.stack([values(torch.float32, count, self.rank * 100 + r) for r in range(self.ranks)]).cuda()
    got = torch.empty_like(out)
    torch.cuda.current_stream().synchronize()
    self.check(self.library.ncclGroupStart())
    for peer in range(self.ranks):
        self.check(self.library.ncclSend(out[peer].data_ptr(), count, 7, peer, self.comm, self.stream.cuda_stream))
        self.check(self.library.ncclRecv(got[peer].data_ptr(), count, 7, peer, self.comm, self.stream.cuda_stream))
    self.check(self.library.ncclGroupEnd())
    self.stream.synchronize()
    for peer in range(self.ranks):
        assert torch.equal(got[peer].cpu(), values(torch.float32, count, peer * 100 + self.rank)), peer


def scalar_on_device(self):
    op = INTEGER()
    with torch.cuda.stream(self.stream):
        data = torch.full((1000,), 3.0, device="cuda")
        factor = torch.ones(1, device="cuda")
        self.check(self.library.ncclRedOpCreatePreMulSum(ctypes.byref(op), factor.data_ptr(), 7, 0, self.comm))
        factor.fill_(self.rank + 1)  # behind the creation, before the call
        self.all_reduce(data, data, op.value)
        self.check(self.library.ncclRedOpDestroy(op.value, self.comm))
    self.stream.synchronize()
    assert data.eq(3.0 * sum(r + 1 for r in range(self.ranks))).all()


GRAPH_LOCK = threading.Lock()


def captured(self):
    source = torch.zeros(100_003, device="cuda")
    target = torch.zeros_like(source)
    graph = torch.cuda.CUDAGraph()
    with GRAPH_LOCK, torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
        source.add_(1)
        self.all_reduce(source, target, stream=self.stream)
        target.add_(0.5)
    # To capture, PyTorch waits for the whole GPU; another rank's call must not be waiting there for this one.
    self.meet()
    for replay in range(1, 101):
        with torch.cuda.stream(self.stream):
            graph.replay()
        self.stream.synchronize()
        assert target.eq(replay * self.ranks + 0.5).all(), f"replay {replay}: {target[:4]}"
    self.meet()
    del graph


def speed(self):
    lines = []
    for power in range(3, 29, 5):
        count = max(1, (1 << power) // 4)
        data = torch.ones(count, device="cuda")
        torch.cuda.current_stream().synchronize()
        for _ in range(3):
            self.all_reduce(data, data, MAX)
        self.stream.synchronize()
        rounds, times = (200 if power < 20 else 10), []
        for _ in range(7):
            begin = time.perf_counter()
            for _ in range(rounds):
                self.all_reduce(data, data, MAX)
            self.stream.synchronize()
            times.append((time.perf_counter() - begin) / rounds)
        seconds = statistics.median(times)
        lines.append(f"AllReduce of {count * 4:>10} bytes, {self.ranks} ranks on one GPU: {seconds * 1e6:10.1f} us, "
                     f"{count * 4 / seconds / 1e9:6.2f} GB/s")
    if self.rank == 0:
        print("\n".join(lines))


def main():
    global torch, TYPES
    try:
        import torch
    except ImportError:
        skip("no PyTorch")
    if not torch.cuda.is_available():
        skip("no GPU")
    torch.zeros(1, device="cuda")  # loads the driver
    TYPES = {torch.int8: 0, torch.uint8: 1, torch.int32: 2, torch.int64: 4, torch.float16: 6, torch.float32: 7,
             torch.float64: 8, torch.bfloat16: 9}
    library = load(sys.argv[1])
    for ranks in (1, 2, 3) if "--only-speed" not in sys.argv else ():
        for test in (all_types, in_stream_order, gather_and_scatter, all_to_all_by_sends, scalar_on_device, captured):
            begin = time.perf_counter()
            run_ranks(library, ranks, test)
            print(f"{ranks} ranks: {test.__name__}: right ({time.perf_counter() - begin:.1f} s)", flush=True)
    if "--speed" in sys.argv or "--only-speed" in sys.argv:
        for ranks in (1, 2, 4):
            run_ranks(library, ranks, speed)
    print("passed")


main()
