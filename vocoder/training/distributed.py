"""One process, or one of several that torchrun started; everything here is right in both.

    torchrun --nproc-per-node 2 --no-python vocoder-train data=STORE name=RUN

All processes take the same steps, each on its share of the batch; only the first writes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import TypeVar, cast
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from vocoder.errors import UserError

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=30)  # for one that is evaluating, synthesising or saving while the others wait
POLL = 0.02  # seconds
# How gloo and NCCL put it that a peer is out of reach; torch has no exception of its own for it.
LOST = ("gloo/transport/tcp/pair.cc", "gloo/transport/tcp/unbound_buffer.cc", "ncclRemoteError")


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
    """The processes that torchrun started, told by the environment; this one alone where it did not.

    Raises:
        UserError: another of them is gone, or out of reach.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        said = str(error).partition("\n")[0]
        raise UserError(f"the other processes cannot be reached at {where} ({said})") from None
    with _lost_peers_are_clear():
        own = dist.PrefixStore(agreed_name(store, rank, size), store)
        dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=PATIENCE)
        try:
            yield World(rank, size)
        finally:
            dist.destroy_process_group()


def agreed_name(store: dist.Store, rank: int, size: int) -> str:
    """A name that processes which start together agree upon, and that was never in the store before.

    torchrun gives the processes it restarts the store of those that died, whose addresses are still in it: one that
    is quicker than its peer would take a dead one's for the peer's, and be refused (pytorch/pytorch#167288). Torch's
    count of restarts is no name, since each machine counts its own. So each process asks under a name made up now;
    the first answers whatever it finds asked, by the dead too, until each has written that it knows the first's name.
    """
    return _name_for_all(store, size) if rank == 0 else _name_of_the_first(store, rank)


def _name_of_the_first(store: dist.Store, rank: int) -> str:
    own = uuid4().hex
    store.set(f"ask/{rank}", own)
    agreed = store.get(f"answer/{own}").decode()
    store.set(f"{agreed}/{rank}", "has it")
    return agreed


def _name_for_all(store: dist.Store, size: int) -> str:
    name, missing = uuid4().hex, set(range(1, size))
    deadline = monotonic() + PATIENCE.total_seconds()
    while missing:
        if monotonic() > deadline:
            raise UserError(f"process {min(missing)} of {size} is missing for {PATIENCE}; see what it said")
        for rank in missing:
            if store.check([f"ask/{rank}"]):
                store.set(f"answer/{store.get(f'ask/{rank}').decode()}", name)
        sleep(POLL)
        missing = {rank for rank in missing if not store.check([f"{name}/{rank}"])}
    return name


@contextmanager
def _lost_peers_are_clear() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        known = isinstance(error, dist.DistNetworkError | dist.DistStoreError)
        if not known and not any(sign in str(error) for sign in LOST):
            raise
        said = str(error).partition("\n")[0].rsplit("] ", 1)[-1]  # without the place in gloo's source
        raise UserError(
            f"another process of this run is gone ({said}); torchrun starts all again if --max-restarts lets it, "
            "otherwise the same command does: the run goes on from its last checkpoint"
        ) from None
