"""Collective operations that also work in a single process, and torchrun's process group.

    torchrun --nproc-per-node 2 --no-python vocoder-train data=STORE name=RUN

All processes take the same steps, each on its share of the batch; only rank 0 writes files.
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
TIMEOUT = timedelta(minutes=30)  # long enough for rank 0 to synthesise or save while the others wait
POLL_SECONDS = 0.02
# Parts of the messages with which gloo and NCCL report a lost peer; torch raises a plain RuntimeError.
LOST_PEER_MESSAGES = ("gloo/transport/tcp/pair.cc", "gloo/transport/tcp/unbound_buffer.cc", "ncclRemoteError")


@dataclass(frozen=True)
class World:
    """The rank of this process, and the number of processes."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module wrapped so that gradients are averaged over all processes; as it is if there is only one."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False)

    def no_sync(self, module: nn.Module) -> AbstractContextManager[None]:
        """A context in which a `parallel` module accumulates gradients locally, without averaging them."""
        return nullcontext() if self.size == 1 else cast(DistributedDataParallel, module).no_sync()

    def all_reduce_mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        return self._all_reduce(value, dist.ReduceOp.SUM) / self.size if self.size > 1 else value

    def all_reduce_sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The sum of each value over all processes, in float64."""
        if self.size == 1:
            return list(values)
        return self._all_reduce(torch.tensor(values, dtype=torch.float64, device=device), dist.ReduceOp.SUM).tolist()

    def all_reduce_max(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The maximum of each value over all processes, in float64."""
        if self.size == 1:
            return list(values)
        return self._all_reduce(torch.tensor(values, dtype=torch.float64, device=device), dist.ReduceOp.MAX).tolist()

    def broadcast(self, compute: Callable[[], Value]) -> Value:
        """Call `compute` on rank 0 alone; return its result on every rank."""
        if self.size == 1:
            return compute()
        result = [compute() if self.is_first else None]
        dist.broadcast_object_list(result, src=0)
        return cast(Value, result[0])

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            dist.barrier()

    @staticmethod
    def _all_reduce(value: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        value = value.clone()
        dist.all_reduce(value, operation)
        return value


def local_device(name: str) -> str:
    """The device of this process: with GPUs under torchrun, "auto" and "cuda" are the GPU of its local rank."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{local}"


@contextmanager
def process_group(device: torch.device) -> Iterator[World]:
    """The process group of torchrun's environment variables; a World of one process without them.

    Raises:
        UserError: another process is gone, or cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        rendezvous_store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        reason = str(error).partition("\n")[0]
        raise UserError(f"the other processes cannot be reached at {where} ({reason})") from None
    with _peer_errors_as_user_errors():
        prefix_store = dist.PrefixStore(agree_on_prefix(rendezvous_store, rank, size), rendezvous_store)
        dist.init_process_group(backend, store=prefix_store, rank=rank, world_size=size, timeout=TIMEOUT)
        try:
            yield World(rank, size)
        finally:
            dist.destroy_process_group()


def agree_on_prefix(rendezvous_store: dist.Store, rank: int, size: int) -> str:
    """A prefix for the rendezvous store's keys that all ranks of this start share, and no earlier start has used.

    torchrun gives restarted processes the rendezvous store of the dead ones, which still holds their addresses. A fast
    process could read a dead peer's address, connect to it and be refused (pytorch/pytorch#167288). Torch's restart
    count cannot serve as the prefix because each machine counts its own restarts.

    So every other rank sends rank 0 a request with a random id. Rank 0 answers every request that it finds, those of
    dead processes too, until all ranks have confirmed its prefix.
    """
    return _announce_prefix(rendezvous_store, size) if rank == 0 else _request_prefix(rendezvous_store, rank)


def _request_prefix(rendezvous_store: dist.Store, rank: int) -> str:
    request_id = uuid4().hex
    rendezvous_store.set(f"ask/{rank}", request_id)
    prefix = rendezvous_store.get(f"answer/{request_id}").decode()
    rendezvous_store.set(f"{prefix}/{rank}", "confirmed")
    return prefix


def _announce_prefix(rendezvous_store: dist.Store, size: int) -> str:
    prefix, missing = uuid4().hex, set(range(1, size))
    deadline = monotonic() + TIMEOUT.total_seconds()
    while missing:
        if monotonic() > deadline:
            raise UserError(f"process {min(missing)} of {size} has not started within {TIMEOUT}; see its output")
        for rank in missing:
            if rendezvous_store.check([f"ask/{rank}"]):
                request_id = rendezvous_store.get(f"ask/{rank}").decode()
                rendezvous_store.set(f"answer/{request_id}", prefix)
        sleep(POLL_SECONDS)
        missing = {rank for rank in missing if not rendezvous_store.check([f"{prefix}/{rank}"])}
    return prefix


@contextmanager
def _peer_errors_as_user_errors() -> Iterator[None]:
    """Turn errors about a lost peer into UserErrors."""
    try:
        yield
    except RuntimeError as error:
        typed = isinstance(error, dist.DistNetworkError | dist.DistStoreError)
        if not typed and not any(part in str(error) for part in LOST_PEER_MESSAGES):
            raise
        reason = str(error).partition("\n")[0].rsplit("] ", 1)[-1]  # without the line in gloo's source
        raise UserError(
            f"another process of this run is gone ({reason}); torchrun restarts all of them if --max-restarts allows "
            "it, otherwise run the same command again: training resumes from the last checkpoint"
        ) from None
