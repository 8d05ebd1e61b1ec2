"""Atomic writes: a file or directory is complete or absent, and failures are reported as UserErrors."""

import errno
import os
import stat
from pathlib import Path

import pytest

from vocoder.errors import UserError
from vocoder.files import atomic_directory, atomic_write, read_json, write_json, write_json_once


class BodyError(Exception):
    """Any exception raised while a file is being written."""


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


def fail_on_sync(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_file_appears_complete_and_with_default_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with atomic_write(path) as partial:
        assert partial.parent == path.parent  # the same file system, so that renaming is atomic
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["file"]
    (tmp_path / "ordinary").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


@pytest.mark.parametrize("error", [BodyError, KeyboardInterrupt])
def test_an_exception_keeps_the_old_file_and_leaves_no_partial_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as partial:
        fail_half_way(partial, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_exception_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(BodyError), atomic_write(tmp_path / "file"):
        raise BodyError
    assert os.listdir(tmp_path) == []


def test_a_directory_appears_complete_and_with_default_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run"
    with atomic_directory(path) as partial:
        (partial / "nested").mkdir()
        (partial / "nested" / "file").write_text("whole")
        assert not path.exists()
    assert (path / "nested" / "file").read_text() == "whole"
    assert os.listdir(path.parent) == ["run"]
    (tmp_path / "ordinary").mkdir()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


@pytest.mark.parametrize("error", [BodyError, KeyboardInterrupt])
def test_an_exception_leaves_no_directory(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_directory(tmp_path / "run") as partial:
        fail_half_way(partial / "file", error)
    assert os.listdir(tmp_path) == []


def test_an_empty_directory_is_replaced_and_a_nonempty_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    with atomic_directory(path) as partial:
        (partial / "file").write_text("first")
    with pytest.raises(UserError, match="run: cannot be written"), atomic_directory(path) as partial:
        (partial / "file").write_text("second")
    assert (path / "file").read_text() == "first"
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write_json(tmp_path / "file", "old")
    fail_on_sync(monkeypatch, code)
    with pytest.raises(UserError, match="file: no space left"):
        write_json(tmp_path / "file", "new")
    with pytest.raises(UserError, match="run: no space left"), atomic_directory(tmp_path / "run") as partial:
        (partial / "file").write_text("half")
    assert read_json(tmp_path / "file") == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_path_without_write_permission_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail_on_sync(monkeypatch, code)
    with pytest.raises(UserError, match="file: cannot be written"):
        write_json(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_user_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "file", "new")
    with pytest.raises(UserError, match="cannot be written"), atomic_directory(tmp_path / "run"):
        pass


def test_a_path_below_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "folder" / "x"):
        with pytest.raises(UserError, match="cannot be written"):
            write_json(path, "new")
        with pytest.raises(UserError, match="cannot be written"), atomic_directory(path):
            pass


def test_other_os_errors_are_raised_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on_sync(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_json(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a" * 255, "音" * 85])
def test_names_of_the_maximum_length_can_be_written(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / name, 1)
    assert read_json(tmp_path / name) == 1


def test_json_round_trips_with_text_in_any_script(tmp_path: Path) -> None:
    value = {"speakers": ["Zoë", "音声"], "rate": 0.1, "none": None, "nested": {"list": [1, 2.5, True]}}
    write_json(tmp_path / "file", value)
    assert read_json(tmp_path / "file") == value
    assert "音声" in (tmp_path / "file").read_text(encoding="utf-8")  # readable, not escaped


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xfe\x00"])
def test_invalid_json_is_a_user_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.json: not valid JSON") as caught:
        read_json(tmp_path / "file.json")
    assert "\n" not in str(caught.value)


def test_reading_a_missing_file_or_a_directory_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(UserError, match="cannot be opened"):
        read_json(tmp_path)


def test_a_value_that_json_cannot_represent_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "file", {"key": object()})
    assert os.listdir(tmp_path) == []


def test_of_several_writers_of_one_file_the_first_is_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "new/job.json"
    assert write_json_once(path, {"n": 1}) == {"n": 1}
    assert write_json_once(path, {"n": 2}) == {"n": 1}
    assert [file.name for file in path.parent.iterdir()] == ["job.json"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_where_links_are_not_permitted_the_first_writer_still_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    assert write_json_once(tmp_path / "job.json", {"n": 1}) == {"n": 1}
    assert write_json_once(tmp_path / "job.json", {"n": 2}) == {"n": 1}
    assert os.listdir(tmp_path) == ["job.json"]
