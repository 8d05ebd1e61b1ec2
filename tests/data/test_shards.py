"""A store made in shards, or on a cluster, is the one that a single process makes, file for file."""

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder import jobs
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.shards import merge_shards, preprocess_shard
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec

SPEC = MelSpec(16000, 256, 100, 256, 10, 0.0, 8000.0)
SETTINGS = PreprocessConfig(SPEC, max_seconds=2.0, speaker="folder")
COUNT = 3


def silently(items: Iterable[Any], *_: Any) -> Iterable[Any]:
    return items


def hashes(store: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(store.iterdir())}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eleven recordings of two speakers at several levels, one of them long, and four that are skipped."""
    generator = np.random.default_rng(0)
    for number in range(11):
        path = tmp_path / "in" / ("ann", "bob")[number % 2] / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = generator.uniform(-1, 1, 5000 + 997 * number if number != 4 else 90000) * (0.05 + 0.08 * number)
        soundfile.write(path, samples, 16000)
    soundfile.write(tmp_path / "in/ann/silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "in/ann/brief.wav", np.full(100, 0.1), 16000)
    soundfile.write(tmp_path / "in/bob/integers.wav", 32768 * samples, 16000, subtype="FLOAT")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/bob/caf\xe9.wav")).write_bytes(b"RIFF")
    return tmp_path / "in"


def run_shard(corpus: Path, number: int, settings: PreprocessConfig = SETTINGS, count: int = COUNT) -> int:
    return preprocess_shard(corpus, corpus.parent / "sharded", settings, (number, count), 0, silently)


def merge(corpus: Path, settings: PreprocessConfig = SETTINGS) -> dict[str, Any]:
    return merge_shards(corpus, corpus.parent / "sharded", settings, silently)


def whole(corpus: Path, settings: PreprocessConfig = SETTINGS) -> dict[str, str]:
    """The hashes of the store that one process makes."""
    preprocess(corpus, corpus.parent / "whole", settings, 0, silently)
    return hashes(corpus.parent / "whole")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
@pytest.mark.parametrize(
    "changes",
    [{}, {"loudness": -26.0, "peak": None, "loudness_of": "recording"}, {"highpass": 60.0, "trim_db": 40.0}],
)
def test_three_shards_make_the_store_of_one_process(
    corpus: Path, order: tuple[int, ...], changes: dict[str, Any]
) -> None:
    settings = replace(SETTINGS, **changes)
    assert sum(run_shard(corpus, number, settings) for number in order) == 15
    description = merge(corpus, settings)
    assert hashes(corpus.parent / "sharded") == whole(corpus, settings)
    assert description["skipped"] == 4
    assert sorted(path.name for path in corpus.parent.iterdir()) == ["in", "sharded", "whole"]


def test_more_shards_than_recordings_are_no_problem(corpus: Path) -> None:
    for number in range(1, 21):
        run_shard(corpus, number, count=20)
    merge(corpus)
    assert hashes(corpus.parent / "sharded") == whole(corpus)


def test_merging_needs_few_open_files(corpus: Path) -> None:
    preprocess(corpus, corpus.parent / "whole", SETTINGS, 0, silently)
    for number in range(1, 41):
        run_shard(corpus, number, count=40)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, limits[1]))
    try:
        merge(corpus)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert hashes(corpus.parent / "sharded") == hashes(corpus.parent / "whole")


def test_given_mels_are_merged_too(tmp_path: Path) -> None:
    speech = Path(__file__).parent.parent / "speech/allison"
    plain = preprocess_mels(speech, tmp_path)
    settings = PreprocessConfig(plain.mel, mels=str(tmp_path / "mels"))
    for number in (2, 1):
        preprocess_shard(speech, tmp_path / "sharded", settings, (number, 2), 0, silently)
    merge_shards(speech, tmp_path / "sharded", settings, silently)
    preprocess(speech, tmp_path / "whole", settings, 0, silently)
    assert hashes(tmp_path / "sharded") == hashes(tmp_path / "whole")


def preprocess_mels(speech: Path, folder: Path) -> PreprocessConfig:
    """Write the mels of all clips but one below `folder`/mels; return the settings that they were made with."""
    settings = PreprocessConfig(replace(SPEC, n_mels=20), peak=None)
    preprocess(speech, folder / "plain", settings, 0, silently)
    (folder / "mels").mkdir()
    store = Store(folder / "plain")
    for entry in list(store.entries)[1:]:
        np.save(folder / "mels" / f"{entry.id}.npy", store.read(entry).mel.T + 0.1)
    return settings


def test_a_shard_takes_the_surveys_of_others_and_makes_those_that_are_missing(corpus: Path) -> None:
    surveyed: list[str] = []

    def counted(items: Iterable[Any], label: str, total: int) -> Iterable[Any]:
        surveyed.extend([label] * total)
        return items

    for number in range(1, COUNT + 1):
        preprocess_shard(corpus, corpus.parent / "sharded", SETTINGS, (number, COUNT), 0, counted)
    assert surveyed.count("measuring levels") == 15  # all by the first
    surveyed.clear()
    assert preprocess_shard(corpus, corpus.parent / "sharded", SETTINGS, (1, COUNT), 0, counted) == 5
    assert surveyed == []  # it was done already


KILLED = """
import sys, time
from pathlib import Path
from vocoder.data.shards import preprocess_shard
sys.path.insert(0, sys.argv[3])
from test_shards import SETTINGS

def slowly(items, *_):
    for item in items:
        time.sleep(0.02)
        yield item
        print("item", flush=True)

preprocess_shard(Path(sys.argv[1]), Path(sys.argv[2]), SETTINGS, (2, 3), 0, slowly)
"""


@pytest.mark.slow
@pytest.mark.parametrize("items", [2, 8, 17])
def test_a_killed_shard_is_run_again_and_the_store_is_the_same(corpus: Path, items: int) -> None:
    """Killed in its own surveys, in those of another shard, or while it processes."""
    command = [sys.executable, "-c", KILLED, str(corpus), str(corpus.parent / "sharded"), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        for _ in range(items):
            assert running.stdout.readline()
        running.kill()
    folder = corpus.parent / "sharded.shards"
    assert not (folder / "part-00002").exists()
    for number in (1, 3):
        run_shard(corpus, number)
    with pytest.raises(UserError, match="no shard 2/3 yet; run shard=2/3 first"):
        merge(corpus)
    run_shard(corpus, 2)
    assert [path.name for path in folder.glob(".part*")] == []
    merge(corpus)
    assert hashes(corpus.parent / "sharded") == whole(corpus)


def test_missing_shards_are_named_and_nothing_is_made(corpus: Path) -> None:
    with pytest.raises(UserError, match=r"shard=merge: there is no .*sharded\.shards; run the shards first"):
        merge(corpus)
    assert not (corpus.parent / "sharded.shards").exists()
    run_shard(corpus, 2)
    with pytest.raises(UserError, match="no shard 1/3, 3/3 yet; run shard=1/3 first"):
        merge(corpus)
    assert not (corpus.parent / "sharded").exists()


def test_shards_of_other_settings_numbers_or_recordings_are_refused(corpus: Path) -> None:
    run_shard(corpus, 1)
    with pytest.raises(UserError, match=r"settings\.min_seconds 0\.3 then, 0\.2 now"):
        run_shard(corpus, 2, replace(SETTINGS, min_seconds=0.2))
    with pytest.raises(UserError, match=r"settings\.mel\.n_mels 10 then, 12 now"):
        merge(corpus, replace(SETTINGS, mel=replace(SPEC, n_mels=12)))
    with pytest.raises(UserError, match="shards 3 then, 4 now"):
        run_shard(corpus, 2, count=4)
    soundfile.write(corpus / "ann/00.wav", np.full(8000, 0.1), 16000)
    with pytest.raises(UserError, match=r"recordings \w+ then, \w+ now.*give the same input"):
        run_shard(corpus, 2)


def test_an_existing_store_is_not_touched(corpus: Path) -> None:
    (corpus.parent / "sharded").mkdir()
    (corpus.parent / "sharded/thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        run_shard(corpus, 1)


def test_a_damaged_part_is_named(corpus: Path) -> None:
    for number in range(1, COUNT + 1):
        run_shard(corpus, number)
    results = corpus.parent / "sharded.shards/part-00002/results.jsonl"
    results.write_bytes(results.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"part-00002/results\.jsonl: missing or damaged"):
        merge(corpus)
    assert not (corpus.parent / "sharded").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "one/two", "merged"])
def test_a_malformed_shard_is_refused(shard: str) -> None:
    with pytest.raises(UserError, match=f"shard={shard}: write i/N"):
        jobs.parse_shard(shard)


@pytest.mark.slow
def test_a_cluster_makes_the_store_of_one_process(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real scheduler with two workers on this machine, which are in other folders than this process."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(corpus)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        jobs.dask_executor(cluster.scheduler_address) as (pool, workers),
    ):
        monkeypatch.chdir(corpus.parent)
        preprocess(corpus, corpus.parent / "clustered", SETTINGS, workers, silently, pool)
        preprocess(Path("in"), Path("relative"), SETTINGS, workers, silently, pool)
    assert hashes(corpus.parent / "clustered") == whole(corpus)
    lines = Path("relative/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["source"] == "in/ann/00.wav"
    assert hashes(Path("relative"))["wave-00000.npy"] == hashes(Path("whole"))["wave-00000.npy"]
