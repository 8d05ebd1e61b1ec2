"""One process, or one of several that torchrun started; everything here is right in both.

    torchrun --nproc-per-node 2 --no-python vocoder-train data=STORE name=RUN

All processes take the same steps, each on its share of the batch; only the first writes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=30)  # for one that is evaluating, synthesising or saving while the others wait


@dataclass(frozen=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module, with gradients that are the means over all processes, if there are several."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False)

    def apart(self, module: nn.Module) -> AbstractContextManager[None]:
        """While active, gradients of a `parallel` module only add up in each process."""
        return nullcontext() if self.size == 1 else cast(DistributedDataParallel, module).no_sync()

    def mean(self, value: Tensor) -> Tensor:
        """Over all processes."""
        return self._reduced(value, dist.ReduceOp.SUM) / self.size if self.size > 1 else value

    def total(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Of each of the values, over all processes, in float64."""
        if self.size == 1:
            return list(values)
        return self._reduced(torch.tensor(values, dtype=torch.float64, device=device), dist.ReduceOp.SUM).tolist()

    def largest(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Of each of the values, over all processes, in float64."""
        if self.size == 1:
            return list(values)
        return self._reduced(torch.tensor(values, dtype=torch.float64, device=device), dist.ReduceOp.MAX).tolist()

    def first(self, find: Callable[[], Value]) -> Value:
        """What the first process finds, in all of them."""
        if self.size == 1:
            return find()
        found = [find() if self.is_first else None]
        dist.broadcast_object_list(found, src=0)
        return cast(Value, found[0])

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    @staticmethod
    def _reduced(value: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        value = value.clone()
        dist.all_reduce(value, operation)
        return value


def local_device(name: str) -> str:
    """The device of this process: each of several on a machine has a GPU of its own, where there are GPUs."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{local}"


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started, told by the environment; this one alone where it did not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
