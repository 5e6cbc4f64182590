"""One rank of membership_test.py.

    python3 membership_rank.py BUILD SCENARIO [VICTIM]     started by fabric-lab; the victim is the last rank if not said

Prints one line of JSON per thing that is to be judged.
"""
import ctypes
import json
import os
import signal
import sys
import threading
import time

from rank_library import FLOAT, load, SHRINK_ABORT, SUCCESS, SUM

RANK = int(os.environ["RANK"])
SIZE = int(os.environ["WORLD_SIZE"])
COUNT = 1 << 18
SMALL = 16


class Failure(Exception):
    pass


class Comm:
    def __init__(self, library, handle=None):
        self.library = library
        self.handle = handle or ctypes.c_void_p()

    def check(self, code):
        if code != SUCCESS:
            raise Failure(self.library.ncclGetLastError(self.handle).decode())

    def start(self):
        self.check(self.library.railcclCommInitFromEnv(ctypes.byref(self.handle)))

    def sum_of(self, value, count=COUNT):
        """The sum over the ranks, every element checked to be the same."""
        data = (ctypes.c_float * count)(*([value] * count))
        self.check(self.library.ncclAllReduce(data, data, count, FLOAT, SUM, self.handle, None))
        if any(element != data[0] for element in data):
            raise AssertionError("elements differ")
        return data[0]

    def broadcast(self, root, value):
        """What the root gave, every element checked to be the same."""
        data = (ctypes.c_float * SMALL)(*([value if RANK == root else -1] * SMALL))
        self.check(self.library.ncclBroadcast(data, data, SMALL, FLOAT, root, self.handle, None))
        if any(element != data[0] for element in data):
            raise AssertionError("elements differ")
        return data[0]

    def send(self, peer, value, count=SMALL):
        data = (ctypes.c_float * count)(*([value] * count))
        self.check(self.library.ncclSend(data, count, FLOAT, peer, self.handle, None))

    def receive(self, peer, count=SMALL):
        data = (ctypes.c_float * count)()
        self.check(self.library.ncclRecv(data, count, FLOAT, peer, self.handle, None))
        return data[count - 1]

    def async_error(self):
        state = ctypes.c_int()
        self.check(self.library.ncclCommGetAsyncError(self.handle, ctypes.byref(state)))
        return state.value

    def sum_until_failure(self):
        """Says the error, and whether the buffer is the caller's own from then on."""
        data = (ctypes.c_float * COUNT)()
        try:
            while True:
                self.check(self.library.ncclAllReduce(data, data, COUNT, FLOAT, SUM, self.handle, None))
        except Failure as failure:
            pattern = b"\x5a" * ctypes.sizeof(data)
            ctypes.memmove(data, pattern, len(pattern))
            time.sleep(0.1)
            say(error=str(failure), written_to=bytes(data) != pattern)

    def shrink(self, without):
        shrunk = Comm(self.library)
        excluded = (ctypes.c_int * len(without))(*without)
        self.check(self.library.ncclCommShrink(self.handle, excluded, len(without), ctypes.byref(shrunk.handle), None,
                                               SHRINK_ABORT))
        return shrunk

    def abort(self):
        """Seconds that it took."""
        began = time.monotonic()
        self.check(self.library.ncclCommAbort(self.handle))
        return time.monotonic() - began


def say(**fields):
    print(json.dumps(fields), flush=True)


def go_on_without(comm, victim):
    shrunk = comm.shrink([victim])
    say(sum=shrunk.sum_of(RANK + 1), small=shrunk.sum_of(RANK + 1, SMALL))
    say(abort_s=comm.abort())
    shrunk.check(shrunk.library.ncclCommDestroy(shrunk.handle))


def death(comm, victim):
    """The victim dies in an operation; the others go on without it."""
    comm.start()
    comm.sum_of(1)
    if RANK == victim:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    comm.sum_until_failure()
    go_on_without(comm, victim)


def revoke(comm, victim):
    """A rank that still works is given up: the one that decides revokes, which ends everyone's operations."""
    comm.start()
    comm.sum_of(1)
    if RANK == 0:
        threading.Timer(0.3, lambda: comm.library.ncclCommRevoke(comm.handle, 0)).start()
    comm.sum_until_failure()
    if RANK == victim:
        say(abort_s=comm.abort())
    else:
        go_on_without(comm, victim)


def stopped(comm, victim):
    """The victim stands still in the middle; a second thread of each other rank aborts the operation it hangs in."""
    comm.start()
    comm.sum_of(1)
    if RANK == victim:
        say(stops=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        say(abort_s=comm.abort())
        return
    took = []

    def abort():
        took.append(comm.abort())

    thread = threading.Timer(1.5, abort)
    thread.start()
    comm.sum_until_failure()
    thread.join()
    say(abort_s=took[0])


def start(comm, victim):
    """The victim never comes; the others, whose start does not block, give up."""
    if RANK == victim:
        time.sleep(3)
        return
    begun = comm.library.railcclCommInitFromEnv(ctypes.byref(comm.handle))
    state = comm.async_error()
    time.sleep(1)
    say(begun=begun, state=state, abort_s=comm.abort())


def leaves(comm, victim):
    """The victim destroys its communicator while the others begin one more operation."""
    comm.start()
    comm.sum_of(1)
    if RANK == victim:
        comm.check(comm.library.ncclCommDestroy(comm.handle))
        return
    comm.sum_until_failure()
    say(abort_s=comm.abort())


def ends(comm, victim):
    """The same, but its process ends and nobody destroys its communicator; the others go on without it."""
    comm.start()
    comm.sum_of(1)
    if RANK != victim:
        comm.sum_until_failure()
        go_on_without(comm, victim)


def in_vain(comm, call, *arguments):
    began = time.monotonic()
    try:
        call(*arguments)
    except Failure as failure:
        say(error=str(failure), error_s=time.monotonic() - began)
    time.sleep(0.3)  # an abort would tell the others something else
    say(abort_s=comm.abort())


def leaves_receivers(comm, victim):
    """The others receive what the victim does not send before it destroys its communicator."""
    comm.start()
    comm.sum_of(1)
    if RANK == victim:
        comm.check(comm.library.ncclCommDestroy(comm.handle))
    else:
        in_vain(comm, comm.receive, victim, SMALL if RANK == 0 else COUNT)


def ends_receivers(comm, victim):
    """The same, and its process ends."""
    comm.start()
    comm.sum_of(1)
    if RANK != victim:
        in_vain(comm, comm.receive, victim, SMALL if RANK == 0 else COUNT)


def ends_senders(comm, victim):
    """The others send to a rank whose process has ended, more than there is room for without it."""
    comm.start()
    comm.sum_of(1)

    def send_all():
        for _ in range(100):
            comm.send(victim, 1, COUNT if RANK == 0 else SMALL)
    if RANK != victim:
        time.sleep(0.5)
        in_vain(comm, send_all)


def ends_before_split(comm, victim):
    """The others split the communicator when the victim's process has ended."""
    comm.start()
    comm.sum_of(1)
    part = ctypes.c_void_p()
    if RANK != victim:
        time.sleep(0.5)
        in_vain(comm, lambda: comm.check(comm.library.ncclCommSplit(comm.handle, 0, 0, ctypes.byref(part), None)))


def ends_busy(comm, _):
    """All end with operations in a stream that nobody has waited for; their memory stays where it is."""
    comm.start()
    stream = ctypes.c_void_p()
    comm.check(comm.library.railcclStreamCreate(ctypes.byref(stream)))
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    memory = libc.malloc(ctypes.c_size_t(1 << 20))
    for count in range(1, 1200, 7):
        comm.check(comm.library.ncclAllReduce(memory, memory, count, FLOAT, SUM, comm.handle, stream))
    say(ready=True)


LATE = 3  # operations that the victim is ahead when it ends


def ends_ahead(comm, victim):
    """The process of a rank ends after operations that have returned there; the others come to them later."""
    comm.start()
    early = [comm.broadcast(victim, number) for number in range(100)]
    if RANK == victim:
        for number in range(LATE):
            comm.broadcast(victim, 1000 + number)
        for peer in range(SIZE):
            for number in range(LATE if peer != victim else 0):
                comm.send(peer, 2000 + number)
        return
    time.sleep(0.7)
    idle_error = comm.async_error()
    late = [comm.broadcast(victim, 0) for _ in range(LATE)]
    received = [comm.receive(victim) for _ in range(LATE)]
    say(early=early == list(range(100)), late=late, received=received, idle_error=idle_error)
    began = time.monotonic()
    comm.check(comm.library.ncclCommDestroy(comm.handle))
    say(destroy_s=time.monotonic() - began)


def terminated(comm, _):
    """SIGTERM ends every rank in the middle of an operation."""
    comm.start()
    comm.sum_of(1)
    say(ready=True)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    comm.sum_until_failure()


def exits(comm, _):
    """Without a goodbye."""
    comm.start()
    comm.sum_of(1)
    say(ready=True)


def main():
    scenario = {each.__name__: each for each in (death, revoke, stopped, start, leaves, ends, leaves_receivers,
                                                  ends_receivers, ends_senders, ends_before_split, ends_busy, ends_ahead,
                                                  terminated, exits)}[sys.argv[2]]
    try:
        scenario(Comm(load(sys.argv[1])), int(sys.argv[3]) if len(sys.argv) > 3 else SIZE - 1)
    except Failure as failure:
        say(failure=str(failure))
        sys.exit(1)


if __name__ == "__main__":
    main()
