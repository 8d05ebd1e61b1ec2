"""The directory of a training run: its lock, and its checkpoints: which to resume from, which to keep."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from vocoder.errors import UserError
from vocoder.files import write_errors_as_user_errors
from vocoder.model.checkpoint import Checkpoint, best_of, checkpoints_in, open_checkpoint
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
        """Lock the run for this process; the operating system releases the lock however the process ends.

        If there is no checkpoint at the end, the lock file is removed, and so are the folders that were made for it.

        Raises:
            UserError: another process is training this run, or the directory cannot be written.
        """
        with write_errors_as_user_errors(self.directory):
            created = [folder for folder in (self.directory, *self.directory.parents) if not folder.exists()]
            lock = self._lock()
        with lock:
            try:
                yield
            finally:
                if not self.checkpoints.exists():
                    self._remove_traces(created)

    def _lock(self) -> TextIO:
        """The locked file. It is opened again if another process, ending, has removed it meanwhile."""
        path = self.directory / ".lock"
        while True:
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                lock = path.open("w")
            except FileNotFoundError:  # the other process has removed the folder meanwhile
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise UserError(
                    f"{self.directory}: another process is training this run; stop it, or choose another name"
                ) from None
            except OSError:  # a file system without locks
                return lock
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    return lock
            lock.close()

    def _remove_traces(self, created: list[Path]) -> None:
        """Remove the lock file, and those of the folders `created` (innermost first) that are empty."""
        with suppress(OSError):
            (self.directory / ".lock").unlink(missing_ok=True)
            for folder in created:
                folder.rmdir()

    def remove_partial(self) -> None:
        """Remove the half-written checkpoints of a killed process."""
        for partial in self.checkpoints.glob(".*.partial"):
            shutil.rmtree(partial, ignore_errors=True)

    def recover_newest(self, log: Callable[[str], object], world: World = World()) -> Checkpoint | None:  # noqa: B008
        """The newest undamaged checkpoint, or None in a new run; reports damaged newer ones to `log` and deletes them.

        In several processes, the first one searches, and all of them get its result.

        Raises:
            UserError: there are checkpoints, and all of them are damaged.
        """

        def search() -> Path | None:
            checkpoint = self._newest_undamaged(log)
            return checkpoint.directory if checkpoint else None

        directory = world.broadcast(search)
        return Checkpoint(directory) if directory else None

    def _newest_undamaged(self, log: Callable[[str], object]) -> Checkpoint | None:
        damaged: dict[Path, UserError] = {}
        for directory in reversed(checkpoints_in(self.directory)):
            try:
                checkpoint = open_checkpoint(directory)
            except UserError as error:
                damaged[directory] = error
                continue
            for other, damage in damaged.items():
                log(f"{damage}; continuing from {directory.name}")
                _remove(other)
            return checkpoint
        if damaged:
            raise UserError(f"{damaged.popitem()[1]}. No undamaged checkpoint is left; start under another name")
        return None

    def prune(self, keep: int, keep_every: int | None = None) -> None:
        """Delete checkpoints, except the newest `keep`, the best one, and multiples of `keep_every` steps."""
        with write_errors_as_user_errors(self.checkpoints):
            directories = checkpoints_in(self.directory)
            best = _best(directories)
            for directory in directories[:-keep]:
                milestone = keep_every is not None and int(directory.name.removeprefix("step-")) % keep_every == 0
                if directory != best and not milestone:
                    _remove(directory)


def _best(directories: list[Path]) -> Path | None:
    """The directory of the best checkpoint; those that were damaged after they were written do not count."""
    readable = []
    for checkpoint in map(Checkpoint, directories):
        with suppress(UserError, KeyError, TypeError):
            _ = checkpoint.score
            readable.append(checkpoint)
    return best_of(readable).directory if readable else None


def _remove(directory: Path) -> None:
    """Rename, then delete: if killed half-way, what is left is no checkpoint, and `remove_partial` deletes it."""
    partial = directory.rename(directory.with_name(f".{directory.name}.partial"))
    shutil.rmtree(partial)
