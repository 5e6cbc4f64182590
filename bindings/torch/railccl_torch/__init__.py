"""RailCCL as a torch.distributed backend: import this, then init_process_group("railccl")."""
import atexit

import torch.distributed

from railccl_torch import _backend

__all__ = ["BACKEND"]

BACKEND = "railccl"


def _create(store, rank, size, timeout):
    return _backend.create(store, rank, size, timeout)


# For process groups that nobody destroys.
atexit.register(_backend.stop_completers)
torch.distributed.Backend.register_backend(BACKEND, _create, devices=["cpu"])
