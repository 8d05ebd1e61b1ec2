"""Atomic writes: a file or directory is either complete or absent.

Each is written under a temporary name in the same folder, flushed to disk, and renamed.
"""

import errno
import fcntl
import glob
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
    """Yield a temporary path to write to. It is renamed to `path` on success and deleted on failure.

    Raises:
        UserError: the disk is full, or `path` cannot be written to.
    """
    with write_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_path(path)  # before the file exists, so that `finally` covers an interrupt at any instant
        try:
            partial.touch(exist_ok=False)
            yield partial
            _sync(partial)
            partial.replace(path)
            _sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory to fill. It is renamed to `path` on success and deleted on failure.

    `path` must not exist, or be an empty directory. Files in it get the permissions that the umask allows.

    Raises:
        UserError: the disk is full, or `path` cannot be written to.
    """
    with write_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, lock = _partial_path(path), None
        try:
            partial.mkdir()
            lock = _locked(partial)
            yield partial
            for file in partial.rglob("*"):
                _sync(file)
                file.chmod((0o777 if file.is_dir() else 0o666) & ~_umask())  # some libraries write files as 0600
            _sync(partial)
            partial.rename(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if lock is not None:
                os.close(lock)


def remove_partial(path: Path) -> None:
    """Remove what killed processes have left of a directory `path` that they were making; not what living ones have."""
    for partial in path.parent.glob(f".{glob.escape(path.name[:50])}.{'[0-9a-f]' * 8}.partial"):
        lock = _locked(partial) if partial.is_dir() else None
        if lock is not None:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(lock)


def _locked(directory: Path) -> int | None:
    """A descriptor that locks the directory as long as it is open, also if the process is killed.

    None if another process has locked it, or the file system has no locks.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def printable(name: str) -> str:
    """A file name with any bytes that are not UTF-8 as backslash escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def plain(text: str) -> str:
    """A text whose control characters are escaped: names of files can have any, and a terminal obeys them."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def is_utf8(name: str) -> bool:
    """Whether a file name is text; Linux allows any bytes."""
    return printable(name) == name


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_json_once(path: Path, value: Any) -> Any:
    """Write `value` as JSON unless another process has written the file; return what is in it then."""
    with write_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_path(path)
        try:
            partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
            _sync(partial)
            _link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink(missing_ok=True)
    return read_json(path)


def _link(partial: Path, path: Path) -> None:
    """Give a complete file its name; unlike a rename, this raises FileExistsError where there is one."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # exFAT, SMB: another process may see the file before it is complete, and says so
        with path.open("xb") as file:
            file.write(partial.read_bytes())
        _sync(path)


def read_json(path: Path) -> Any:
    """Read the JSON value in `path`.

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


PROCESS_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # errors of opening that say nothing about the file
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NOT_WRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG),
}


@contextmanager
def write_errors_as_user_errors(path: Path) -> Iterator[None]:
    """Turn an OSError for a full disk or an unwritable path into a UserError that names `path`.

    Any other OSError is raised unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise UserError(f"{path}: no space left on the disk; free some and run the same command again") from error
        if error.errno in _NOT_WRITABLE:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another path") from error
        raise


def _partial_path(path: Path) -> Path:
    """A hidden, unique name in the folder of `path`; the same file system, so that renaming is atomic."""
    return path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:8]}.partial")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)  # it can only be read by setting it
    os.umask(mask)
    return mask
