"""The store: reading returns exactly what was written, in any number of shards, and damage is reported."""

import errno
import json
import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vocoder.data.store import Store, StoreWriter, shard_paths
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec

MakeStore = Callable[..., Store]


def edit(store: Store, **changes: Any) -> None:
    path = store.directory / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("shard_frames", [1, 8, 1000])
def test_utterances_round_trip_for_any_shard_size(make_counting_store: MakeStore, shard_frames: int) -> None:
    lengths = [3, 8, 5, 7, 1, 12]
    store = make_counting_store(lengths, shard_frames)
    assert [entry.frames for entry in store.split("train")] == lengths
    for u, entry in enumerate(store.entries):
        utterance = store.read(entry)
        assert utterance.wave.tolist() == [100 * u + n for n in range(entry.frames * 10)]
        assert utterance.mel[:, 0].tolist() == [1000 * u + 1 + f for f in range(entry.frames)]
    shards = {1: 6, 8: 3, 1000: 1}[shard_frames]
    assert len(list(store.directory.glob("wave-*.npy"))) == shards


def test_a_shard_is_an_ordinary_npy_file(make_counting_store: MakeStore) -> None:
    store = make_counting_store([3, 4])
    wave, mel = (np.load(path) for path in shard_paths(store.directory, 0))
    assert (wave.dtype, wave.shape) == (np.int16, (70,))
    assert (mel.dtype, mel.shape) == (np.float32, (7, 4))


def test_reading_a_range_of_frames_returns_these_frames_of_a_copy(make_counting_store: MakeStore) -> None:
    store = make_counting_store([5, 9])
    utterance = store.read(store.entries[1], 2, 4)
    assert utterance.wave.tolist() == list(range(120, 140))
    assert utterance.mel[:, 0].tolist() == [1003, 1004]
    utterance.wave[:], utterance.mel[:] = 0, 0
    assert store.read(store.entries[1], 2, 4).wave.tolist() == list(range(120, 140))
    assert store.read(store.entries[1], 2, 2).mel.shape == (0, 4)


def test_only_what_is_used_is_read(make_counting_store: MakeStore) -> None:
    store = make_counting_store([5, 9])
    utterance = store.read(store.entries[0])
    shard_paths(store.directory, 0)[1].unlink()
    assert len(utterance.wave) == 50
    with pytest.raises(UserError, match="shard 0 is missing"):
        _ = utterance.mel


def test_a_store_of_more_files_than_a_process_may_open_is_read(make_counting_store: MakeStore) -> None:
    store = make_counting_store([2] * 300, shard_frames=1)
    before, entries = resource.getrlimit(resource.RLIMIT_NOFILE), list(store.entries)
    opened = len(os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, before[1]))
        kept = [store.read(entry) for entry in entries]
        assert [utterance.wave[0] for utterance in kept] == [100 * u for u in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(os.listdir("/proc/self/fd")) == opened


def test_a_limit_of_the_process_is_not_called_damage(
    make_counting_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_counting_store([2])

    def load(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    entry = store.entries[0]
    monkeypatch.setattr(np, "load", load)
    with pytest.raises(UserError, match=r"shard 0 cannot be opened \(Too many open files\).*ulimit -n"):
        store.read(entry)
    with pytest.raises(UserError, match=r"index cannot be opened \(Too many open files\).*ulimit -n"):
        _ = Store(store.directory).entries


OTHERS = {"id": "v", "split": "dev", "speaker": "bob"}


def written(directory: Path, change: str = "") -> str | None:
    """The identity of a store of two utterances, one thing in which is different."""
    directory.mkdir()
    spec = MelSpec(16000, 64, 10, 64, 4, 10.0 if change == "mel" else 0.0, 8000.0)
    writer, records = StoreWriter(directory, spec), []
    for u, frames in enumerate((3, 4)):
        wave = np.arange(10 * frames, dtype=np.int16)
        wave[0] += change == "wave"
        shard, start = writer.append(wave, np.zeros((frames, 4), np.float32))
        record = {"id": f"u{u}", "status": "kept", "split": "train", "speaker": "ann", "source": directory.name}
        records.append(record | {"shard": shard, "start": start, "frames": frames})
    records[1] |= {key: value for key, value in OTHERS.items() if key == change}
    writer.close()
    writer.write_metadata(records, {"speakers": ["ann", "bob"], "gain": 1.0})
    return Store(directory).identity


def test_the_identity_of_a_store_is_that_of_what_it_holds(tmp_path: Path) -> None:
    same = [written(tmp_path / name) for name in ("here", "there")]
    assert same[0] == same[1] is not None
    others = [written(tmp_path / change, change) for change in ("wave", "mel", "id", "split", "speaker")]
    assert len({*same, *others}) == 6


def test_a_pickled_store_has_paths_and_not_contents(make_counting_store: MakeStore) -> None:
    store = make_counting_store([3000])
    expected = store.read(store.entries[0]).wave
    pickled = pickle.dumps(store)
    assert len(pickled) < 4000
    assert np.array_equal(pickle.loads(pickled).read(store.entries[0]).wave, expected)


def test_appending_a_wave_and_a_mel_of_different_lengths_is_refused(make_counting_store, tmp_path: Path) -> None:
    spec = make_counting_store([1]).spec
    with pytest.raises(ValueError, match="2 frames cover 20 samples, not 21"):
        StoreWriter(tmp_path, spec).append(np.zeros(21, np.int16), np.zeros((2, 4), np.float32))


def test_a_folder_that_is_not_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a preprocessed store"):
        Store(tmp_path)
    with pytest.raises(UserError, match="not a preprocessed store"):
        Store(tmp_path / "missing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 0}, "another format"),
        ({"mel_hash": "0" * 16}, "mel does not match its mel_hash"),
        ({"mel": {"sample_rate": 16000, "hops": 3}}, "mel"),
    ],
)
def test_a_store_of_another_format_or_mel_is_refused(make_counting_store: MakeStore, changes, message: str) -> None:
    store = make_counting_store([3])
    edit(store, **changes)
    with pytest.raises(UserError, match=message):
        Store(store.directory)


def test_a_description_that_is_not_json_is_refused(make_counting_store: MakeStore) -> None:
    store = make_counting_store([3])
    (store.directory / "store.json").write_text('{"format": 1, "mel"')
    with pytest.raises(UserError, match=r"store\.json: not valid JSON"):
        Store(store.directory)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("bytes_left", [None, 0, 50, 150])
def test_a_missing_or_truncated_shard_is_refused(
    make_counting_store: MakeStore, kind: int, bytes_left: int | None
) -> None:
    store = make_counting_store([30])
    path = shard_paths(store.directory, 0)[kind]
    if bytes_left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(UserError, match="shard 0 is missing or damaged"):
        store.read(store.entries[0])


@pytest.mark.parametrize(
    "content", [None, '{"id": "u0", "stat', '{"status": "kept"}\n'], ids=["missing", "truncated", "incomplete"]
)
def test_a_missing_or_truncated_manifest_is_refused(make_counting_store: MakeStore, content: str | None) -> None:
    store = make_counting_store([3])
    (store.directory / "index.npy").unlink()  # without an index, the manifest is read
    path = store.directory / "manifest.jsonl"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=r"manifest\.jsonl"):
        store.split("train")


def test_a_shard_whose_wave_and_mel_differ_in_length_is_refused(make_counting_store: MakeStore) -> None:
    store = make_counting_store([3])
    np.save(shard_paths(store.directory, 0)[0], np.zeros(29, np.int16))
    with pytest.raises(UserError, match="differ in length"):
        store.read(store.entries[0])


def test_an_unknown_split_is_refused_with_the_valid_names(make_counting_store: MakeStore) -> None:
    with pytest.raises(UserError, match="split=valid: must be one of train, dev, test"):
        make_counting_store([3]).split("valid")
