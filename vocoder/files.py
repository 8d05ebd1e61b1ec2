"""Files that are either whole or absent: written aside, flushed to disk, then renamed."""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vocoder.errors import UserError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it takes the name, on failure it goes.

    Raises:
        UserError: the disk is full or the place cannot be written to.
    """
    with write_errors_are_clear(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = beside(path)  # named before it is there, so that an interrupt at any instant leaves nothing
        try:
            aside.touch(exist_ok=False)
            yield aside
            _sync(aside)
            aside.replace(path)
            _sync(path.parent)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """The same for a directory, which must not exist yet (or be empty).

    Raises:
        UserError: the disk is full or the place cannot be written to.
    """
    with write_errors_are_clear(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = beside(path)
        try:
            aside.mkdir()
            yield aside
            for file in aside.rglob("*"):
                _sync(file)
                file.chmod((0o777 if file.is_dir() else 0o666) & ~_umask())  # some writers leave theirs closed
            _sync(aside)
            aside.rename(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def beside(path: Path) -> Path:
    """A name in the folder of `path` that nobody else has, hidden."""
    return path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:8]}.partial")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON (aside, then renamed)."""
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        UserError: the file is missing, cannot be opened, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


_WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG),
}


@contextmanager
def write_errors_are_clear(path: Path) -> Iterator[None]:
    """Full disks and places that cannot be written to become UserErrors that name `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{path}: no space left to write it; free some and run the same command again") from error
        if error.errno in _WRONG_PLACE:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
