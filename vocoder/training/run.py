"""The directory of a training run: its checkpoints, which of them to resume from, which to keep."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vocoder.errors import UserError
from vocoder.files import write_errors_as_user_errors
from vocoder.model.checkpoint import Checkpoint, checkpoints_in, open_checkpoint
from vocoder.training.distributed import World


class Run:
    """runs/<name>/: checkpoints/step-NNNNNNNN/, tensorboard/, log.jsonl."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.checkpoints = directory / "checkpoints"

    def checkpoint_directory(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the lock goes when the process does, however it ends.

        Raises:
            UserError: another process is training it.
        """
        with write_errors_as_user_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = (self.directory / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.directory}: another process is training this run; stop it, or choose another name"
                ) from None
            except OSError:  # a file system without locks
                pass
            yield

    def sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for leftover in self.checkpoints.glob(".*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)

    def newest(self, tell: Callable[[str], object]) -> Checkpoint | None:
        """The newest undamaged checkpoint, or None in a new run; newer ones are told of and removed.

        Raises:
            UserError: there are checkpoints, and all of them are damaged.
        """
        damaged: dict[Path, UserError] = {}
        for directory in reversed(checkpoints_in(self.directory)):
            try:
                checkpoint = open_checkpoint(directory)
            except UserError as error:
                damaged[directory] = error
                continue
            for other, damage in damaged.items():
                tell(f"{damage}; going on from {directory.name}")
                _remove(other)
            return checkpoint
        if damaged:
            raise UserError(f"{damaged.popitem()[1]}. No undamaged checkpoint is left; start under another name")
        return None

    def newest_of_all(self, world: World, tell: Callable[[str], object]) -> Checkpoint | None:
        """The same in all processes, looked for by the first; errors as `newest`."""

        def find() -> Path | None:
            checkpoint = self.newest(tell)
            return checkpoint.directory if checkpoint else None

        directory = world.first(find)
        return Checkpoint(directory) if directory else None

    def prune(self, keep: int, keep_every: int | None = None) -> None:
        """Delete all but the newest `keep` checkpoints, the best by dev bits, and those of every so many steps."""
        with write_errors_as_user_errors(self.checkpoints):
            self._prune(keep, keep_every)

    def _prune(self, keep: int, keep_every: int | None) -> None:
        directories = checkpoints_in(self.directory)
        best = min(reversed(directories), key=_dev_bits, default=None)
        for directory in directories[:-keep]:
            milestone = keep_every is not None and int(directory.name.removeprefix("step-")) % keep_every == 0
            if directory != best and not milestone:
                _remove(directory)


def _dev_bits(directory: Path) -> float:
    try:
        return Checkpoint(directory).dev_bits
    except (UserError, KeyError, TypeError):  # damaged since it was written
        return float("inf")


def _remove(directory: Path) -> None:
    """Rename first: killed half-way, it leaves nothing that looks like a checkpoint, and `sweep` does the rest."""
    going = directory.rename(directory.with_name(f".{directory.name}.partial"))
    shutil.rmtree(going)
