"""Bulk synthesis: all wavs are written once and whole, whatever is interrupted, repeated or split into shards."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.commands import cli
from vocoder.commands.synthesize import Config, synthesize_on_cluster
from vocoder.errors import UserError
from vocoder.jobs import shard_of
from vocoder.model import VocoderConfig, VocoderModel, save_checkpoint
from vocoder.settings import from_mapping
from vocoder.synthesis import Request, Source, SynthesisOptions, Vocoder, find_sources, synthesize_into

FRAMES = [3, 1, 9, 5, 2, 7, 4, 8, 6, 2, 3]


@pytest.fixture
def mels(tmp_path: Path, make_mel: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "mels"
    (folder / "deeper").mkdir(parents=True)
    for i, frames in enumerate(FRAMES):
        np.save(folder / ("deeper" if i % 2 else ".") / f"u{i:02}.npy", make_mel(frames, i))
    return folder


def written(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(output.rglob("*.wav"))}


def run(
    vocoder: Vocoder,
    mels: Path,
    output: Path,
    shard: str = "1/1",
    options: SynthesisOptions | None = None,
    overwrite: bool = False,
) -> dict[str, object]:
    sources = shard_of(find_sources(vocoder, mels, "test", None), shard)
    return dict(synthesize_into(output, vocoder, sources, options or SynthesisOptions(), overwrite=overwrite))


def test_outputs_below_the_inputs_are_no_inputs_and_inputs_below_the_outputs_are(
    make_vocoder: Callable[..., Vocoder], mels: Path
) -> None:
    vocoder, inside = make_vocoder(), mels / "out"
    inside.mkdir()
    shutil.copy(next(mels.glob("*.npy")), inside / "made.npy")
    ids = {source.id for source in find_sources(vocoder, mels, "test", None)}
    assert {source.id for source in find_sources(vocoder, mels, "test", None, exclude=inside)} == ids - {"out/made"}
    assert {source.id for source in find_sources(vocoder, mels, "test", None, exclude=mels.parent)} == ids


@pytest.mark.parametrize("shards", [1, 2, 3, 11, 20])
def test_shards_are_disjoint_and_complete(
    make_vocoder: Callable[..., Vocoder], mels: Path, tmp_path: Path, shards: int
) -> None:
    vocoder = make_vocoder()
    assert len(run(vocoder, mels, tmp_path / "whole")) == len(FRAMES)
    parts = [run(vocoder, mels, tmp_path / "parts", f"{i}/{shards}") for i in range(1, shards + 1)]
    assert sum(len(part) for part in parts) == len(FRAMES)
    assert written(tmp_path / "parts") == written(tmp_path / "whole")
    assert soundfile.info(tmp_path / "whole/u02.wav").frames == FRAMES[2] * 20


def test_an_interrupted_run_is_completed_without_rewriting_finished_wavs(
    make_vocoder: Callable[..., Vocoder], mels: Path, tmp_path: Path
) -> None:
    vocoder, output = make_vocoder(threads=1, width=1), tmp_path / "wavs"
    started = synthesize_into(output, vocoder, find_sources(vocoder, mels, "test", None), SynthesisOptions())
    for _ in range(4):
        next(started)
    started.close()
    there = written(output)
    assert len(there) >= 4
    times = {name: (output / name).stat().st_mtime_ns for name in there}
    rest = run(vocoder, mels, output)
    assert len(rest) == len(FRAMES) - len(there)
    assert {name: (output / name).stat().st_mtime_ns for name in there} == times
    run(vocoder, mels, tmp_path / "undisturbed")
    assert written(output) == written(tmp_path / "undisturbed")
    assert run(vocoder, mels, output) == {}
    assert not list(output.rglob("*.partial"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (SynthesisOptions(seed=1), "seed"),
        (SynthesisOptions(temperature=0.5), "temperature"),
        (SynthesisOptions(folded=True), "fold"),
        (SynthesisOptions(speaker="ann"), "speaker"),
    ],
)
def test_a_folder_of_wavs_made_with_other_options_is_refused_unless_overwritten(
    make_vocoder: Callable[..., Vocoder], mels: Path, tmp_path: Path, options: SynthesisOptions, word: str
) -> None:
    vocoder, output = make_vocoder(), tmp_path / "wavs"
    run(vocoder, mels, output)
    before = written(output)
    with pytest.raises(UserError, match=f"its wavs differ in {word}; choose another folder, or overwrite=true"):
        run(vocoder, mels, output, options=options)
    assert written(output) == before
    assert len(run(vocoder, mels, output, options=options, overwrite=True)) == len(FRAMES)
    assert run(vocoder, mels, output, options=options) == {}


def test_a_source_that_is_unreadable_or_leads_out_of_the_folder_yields_an_error(
    make_vocoder: Callable[..., Vocoder], make_mel: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    def unreadable() -> Request:
        raise UserError("unreadable")

    sources = [
        Source("good", partial(Request, "good", make_mel(2))),
        Source("bad", unreadable),
        Source("../out", partial(Request, "../out", make_mel(2))),
    ]
    results = dict(synthesize_into(tmp_path / "wavs", make_vocoder(), sources, SynthesisOptions()))
    assert results["good"] == 40
    assert str(results["bad"]) == "bad: unreadable"
    assert "leads out" in str(results["../out"])
    assert list(written(tmp_path)) == ["wavs/good.wav"]


def test_an_interrupted_overwrite_is_completed_without_rewriting_new_wavs(
    make_vocoder: Callable[..., Vocoder], mels: Path, tmp_path: Path
) -> None:
    vocoder, output = make_vocoder(threads=1, width=1), tmp_path / "wavs"
    run(vocoder, mels, output)
    sources = find_sources(vocoder, mels, "test", None)
    started = synthesize_into(output, vocoder, sources, SynthesisOptions(seed=1), overwrite=True)
    next(started)
    started.close()
    there = {name: (output / name).stat().st_mtime_ns for name in written(output)}
    stale = run(vocoder, mels, output, options=SynthesisOptions(seed=1)).values()
    assert all("was made from something else; overwrite=true" in str(result) for result in stale)
    replaced = run(vocoder, mels, output, options=SynthesisOptions(seed=1), overwrite=True)
    assert len(replaced) == len(stale)
    assert sum((output / name).stat().st_mtime_ns == time for name, time in there.items()) == len(FRAMES) - len(stale)
    run(vocoder, mels, tmp_path / "undisturbed", options=SynthesisOptions(seed=1))
    assert written(output) == written(tmp_path / "undisturbed")


def test_what_is_no_input_is_passed_over_and_what_cannot_be_read_is_named(
    make_vocoder: Callable[..., Vocoder], mels: Path, tmp_path: Path
) -> None:
    vocoder = make_vocoder()
    mel = next(mels.glob("*.npy")).read_bytes()
    for name in (".ipynb_checkpoints/x.npy", "deeper/.cache/a/x.npy", ".x.npy"):
        (mels / name).parent.mkdir(exist_ok=True, parents=True)
        (mels / name).write_bytes(mel)
    (mels / "old.npy").mkdir()
    (mels / "old.npy/inside.npy").write_bytes(mel)
    (mels / "talk.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    Path(os.fsdecode(os.fsencode(mels) + b"/caf\xe9.npy")).write_bytes(mel)
    sources = find_sources(vocoder, mels, "test", None)
    results = dict(synthesize_into(tmp_path / "out", vocoder, sources, SynthesisOptions()))
    refused = {id: str(result) for id, result in results.items() if isinstance(result, UserError)}
    assert refused.keys() == {"talk", r"caf\xe9"}
    assert ".m4a is not read" in refused["talk"]
    assert r"caf\xe9.npy: its name is not UTF-8" in refused[r"caf\xe9"]
    assert len(written(tmp_path / "out")) == len(FRAMES) + 1
    assert "old.npy/inside.wav" in written(tmp_path / "out")


def test_linked_folders_are_entered(make_vocoder: Callable[..., Vocoder], mels: Path, tmp_path: Path) -> None:
    vocoder = make_vocoder()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/linked").symlink_to(mels)
    results = run(vocoder, tmp_path / "in", tmp_path / "out")
    assert len(results) == len(FRAMES)
    assert written(tmp_path / "out").keys() == {
        f"linked/{path.relative_to(mels).with_suffix('.wav')}" for path in mels.rglob("*.npy")
    }


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3", "-1/2"])
def test_a_malformed_shard_is_refused(shard: str) -> None:
    with pytest.raises(UserError, match=f"shard={shard}: write i/N"):
        shard_of([], shard)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_writes_every_wav(
    model: VocoderModel, config: VocoderConfig, make_vocoder: Callable[..., Vocoder], make_mel, tmp_path: Path
) -> None:
    """A real scheduler with two workers on this machine; one is killed when the first wav exists."""
    distributed = pytest.importorskip("distributed")
    mels, output = tmp_path / "mels", tmp_path / "wavs"
    mels.mkdir()
    for i in range(40):
        np.save(mels / f"u{i:02}.npy", make_mel(50, i))
    checkpoint = tmp_path / "model"
    weights = {"model": model.state_dict(), "ema": model.state_dict()}
    save_checkpoint(checkpoint, config, weights, {"step": 0, "dev_bits": None}, {"step": 0})
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        settings = from_mapping(
            Config,
            cli.compose(
                "synthesize",
                [
                    *(f"model={checkpoint}", f"input={mels}", f"output={output}", "executor=dask", "shards=4"),
                    *(f'scheduler="{cluster.scheduler_address}"', "threads=1", "fold=off", "postfilter=2"),
                    "mel.layout=bands_first",
                ],
            ),
        )
        with distributed.Client(cluster) as client:
            workers = client.run(os.getpid)
        killer = Killer(next(iter(workers.values())), output)
        killer.start()
        summary = synthesize_on_cluster(settings)
        killer.join()
    assert summary.failures == []
    assert 0 < len(killer.there) < 40  # it was killed before all were written
    assert {path.name: path.stat().st_mtime_ns for path in output.glob("*.wav")}.items() >= killer.there.items()
    run(make_vocoder(postfilter=2), mels, tmp_path / "undisturbed")
    assert written(output) == written(tmp_path / "undisturbed")


class Killer(threading.Thread):
    """Kills a process when the first wav exists, and records the wavs that exist by then."""

    def __init__(self, process: int, output: Path) -> None:
        super().__init__()
        self.process, self.output = process, output
        self.there: dict[str, int] = {}

    def run(self) -> None:
        deadline = time.monotonic() + 60
        while not self.there and time.monotonic() < deadline:
            time.sleep(0.01)
            self.there = {path.name: path.stat().st_mtime_ns for path in self.output.glob("*.wav")}
        os.kill(self.process, signal.SIGKILL)
