"""Files below a folder: linked folders are entered, once; hidden files are not there; loops end."""

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from vocoder.corpora import walk_files


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def walked(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk_files(root, (".wav",))]


def test_without_links_the_files_are_those_of_rglob_in_its_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.wav", "a b/c.WAV", "a/z.wav", "a.wav", "a-/1.wav", "a/x.txt", "é/ü.wav", "a/.b.wav", ".c/d.wav")
    expected = [
        path
        for path in sorted(tmp_path.rglob("*"))
        if path.suffix.lower() == ".wav" and "/." not in str(path.relative_to(tmp_path.parent))
    ]
    assert walk_files(tmp_path, (".wav",)) == expected
    assert len(expected) == 6


def test_a_linked_folder_is_entered(tmp_path: Path) -> None:
    touch(tmp_path, "data/p225/1.wav", "corpus/p226/1.wav")
    (tmp_path / "corpus/p225").symlink_to(tmp_path / "data/p225")
    assert walked(tmp_path / "corpus") == ["p225/1.wav", "p226/1.wav"]


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "data/1.wav")
    (tmp_path / "corpus").symlink_to(tmp_path / "data")
    assert walked(tmp_path / "corpus") == ["1.wav"]


def test_a_folder_keeps_its_own_name_beside_links_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "real/1.wav")
    (tmp_path / "a link").symlink_to(tmp_path / "real")
    (tmp_path / "real/up").symlink_to(tmp_path)
    assert walked(tmp_path) == ["real/1.wav"]


def test_of_two_links_to_one_folder_the_first_is_entered(tmp_path: Path) -> None:
    touch(tmp_path, "data/1.wav")
    (tmp_path / "corpus").mkdir()
    for name in ("b", "a"):
        (tmp_path / "corpus" / name).symlink_to(tmp_path / "data")
    assert walked(tmp_path / "corpus") == ["a/1.wav"]


def test_linked_files_are_found_and_broken_links_and_links_to_themselves_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "data/1.wav")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/good.wav").symlink_to(tmp_path / "data/1.wav")
    (tmp_path / "corpus/broken.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "corpus/self.wav").symlink_to(tmp_path / "corpus/self.wav")
    (tmp_path / "corpus/self").symlink_to(tmp_path / "corpus/self")
    assert walked(tmp_path / "corpus") == ["good.wav"]


def test_a_folder_whose_name_looks_like_a_file_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "old.wav/1.wav")
    assert walked(tmp_path) == ["old.wav/1.wav"]


def test_a_tree_deeper_than_the_interpreter_recurses_is_walked(tmp_path: Path) -> None:
    folders = [tmp_path / "/".join("d" * depth) for depth in range(1, sys.getrecursionlimit() + 100)]
    for folder in folders:
        folder.mkdir()
    touch(folders[-1], "1.wav")
    try:
        assert len(walk_files(tmp_path, (".wav",))) == 1
    finally:  # pytest's own clean-up recurses
        (folders[-1] / "1.wav").unlink()
        for folder in reversed(folders):
            folder.rmdir()


@settings(max_examples=30, deadline=None)
@given(links=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_any_links_between_folders_end_and_find_each_file_once(
    tmp_path_factory: object, links: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.mktemp("links")  # type: ignore[attr-defined]
    touch(root, *(f"{n}/file.wav" for n in range(6)))
    for number, (holder, target) in enumerate(links):
        (root / f"{holder}/link{number}").symlink_to(root / f"{target}")
    assert walked(root) == [f"{n}/file.wav" for n in range(6)]
