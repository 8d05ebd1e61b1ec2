"""The index equals the manifest, supports slices and selections, and reports damage."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vocoder.data.index import ROW_DTYPE, Entry, UtteranceIndex
from vocoder.data.store import Store
from vocoder.errors import UserError

ENTRIES = [
    Entry("a", "train", "ann", 0, 0, 5),
    Entry("ünï/cödé", "dev", None, 0, 5, 3),
    Entry("c" * 300, "train", "bob", 1, 0, 2**31),
    Entry("", "test", "ann", 1, 2**40, 1),
]


@pytest.fixture(params=["in memory", "on disk"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> UtteranceIndex:
    index = UtteranceIndex.from_entries(ENTRIES, ("ann", "bob"))
    if request.param == "in memory":
        return index
    index.save(tmp_path)
    return UtteranceIndex.open(tmp_path, ("ann", "bob"))


def test_entries_round_trip(index: UtteranceIndex) -> None:
    assert list(index) == ENTRIES
    assert [index[i] for i in range(-4, 4)] == ENTRIES + ENTRIES
    with pytest.raises(IndexError):
        index[4]


def test_slices_splits_and_selections_equal_those_of_the_list(index: UtteranceIndex) -> None:
    assert list(index[1:3]) == ENTRIES[1:3]
    assert list(index[::-2]) == ENTRIES[::-2]
    assert list(index.split("train")) == [ENTRIES[0], ENTRIES[2]]
    assert list(index.split("train")[1:]) == [ENTRIES[2]]
    assert list(index.select(index.frame_counts < 5).split("test")) == [ENTRIES[3]]
    assert index.frame_counts.tolist() == [entry.frames for entry in ENTRIES]
    assert index.split("train").speaker_indices.tolist() == [0, 1]
    assert index.speaker_indices.tolist() == [0, -1, 1, 0]
    assert len(index.select(np.zeros(4, bool))) == 0


def test_an_index_may_be_empty(tmp_path: Path) -> None:
    UtteranceIndex.from_entries([], ()).save(tmp_path)
    assert list(UtteranceIndex.open(tmp_path, ())) == []


def test_a_store_without_an_index_has_the_same_entries(make_counting_store: Callable[..., Store]) -> None:
    store = make_counting_store([3, 1, 7], speakers=("ann", "bob"))
    expected = list(store.entries)
    (store.directory / "index.npy").unlink()
    assert list(Store(store.directory).entries) == expected
    kept = [json.loads(line) for line in (store.directory / "manifest.jsonl").read_text().splitlines()]
    assert [entry.id for entry in expected] == [record["id"] for record in kept if record["status"] == "kept"]


@pytest.mark.parametrize("file", ["index.npy", "names.bin"])
@pytest.mark.parametrize("remaining", [0, 0.5])
def test_a_truncated_index_is_refused(make_counting_store: Callable[..., Store], file: str, remaining: float) -> None:
    store = make_counting_store([3, 1, 7])
    path = store.directory / file
    content = path.read_bytes()
    path.write_bytes(content[: int(remaining * len(content))])
    with pytest.raises(UserError, match="its index is damaged"):
        _ = Store(store.directory).entries


def test_a_table_of_another_dtype_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "index.npy", np.zeros(3))
    (tmp_path / "names.bin").write_bytes(b"abc")
    with pytest.raises(UserError, match="its index is damaged"):
        UtteranceIndex.open(tmp_path, ())
    assert ROW_DTYPE.itemsize == 29  # bytes per utterance
