"""The settings of commands whose work a Dask cluster can do: executor, scheduler and shard."""

from typing import Literal

from vocoder.errors import UserError


def cluster_address(executor: Literal["local", "dask"], scheduler: str | None, shard: str) -> str | None:
    """The address of the scheduler of the cluster that does the work; None where this machine does it.

    Raises:
        UserError: the settings contradict each other.
    """
    if executor != "dask":
        if scheduler is not None:
            raise UserError(f"scheduler={scheduler}: give executor=dask too")
        return None
    if scheduler is None:
        raise UserError("executor=dask: give scheduler=tcp://HOST:PORT, the address of the cluster's scheduler")
    if shard != "1/1":
        raise UserError(f"shard={shard}: executor=dask runs all shards; leave shard out")
    return scheduler
