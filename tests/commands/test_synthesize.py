"""vocoder-synthesize: its settings, what it prints, and what an interrupt leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from vocoder.data.store import Store
from vocoder.engines import cpu
from vocoder.features.audio import resample
from vocoder.features.mel import PRESETS, log_mel
from vocoder.kernels import processor

Command = Callable[..., Any]
FRAMES = 100


@pytest.fixture
def mels(tmp_path: Path, speech_store: Store) -> Path:
    """A folder with the mels of forty utterances."""
    folder = tmp_path / "mels"
    folder.mkdir()
    mel = speech_store.read(max(speech_store.entries, key=lambda entry: entry.frames), 0, FRAMES).mel.T
    for i in range(40):
        np.save(folder / f"u{i:02}.npy", mel)
    return folder


def written(output: Path) -> dict[str, bytes]:
    """The contents of the wavs in a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(output.glob("*.wav"))}


@pytest.mark.slow
def test_an_interrupt_keeps_finished_wavs_and_the_same_command_resumes(
    command: Command, tmp_path: Path, mels: Path, trained: Path
) -> None:
    output = tmp_path / "wavs"
    arguments = [f"model={trained}", f"input={mels}", "threads=1", "device=cpu"]
    program = Path(sys.executable).parent / "vocoder-synthesize"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [program, *arguments, f"output={output}"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not written(output) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    finished = written(output)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "vocoder-synthesize: interrupted"
    assert "Traceback" not in err
    assert 0 < len(finished) < 40
    assert not list(output.rglob("*.partial"))
    assert all(soundfile.info(output / name).frames == FRAMES * 200 for name in finished)
    assert command("synthesize", *arguments, f"output={output}").code == 0
    assert command("synthesize", *arguments, f"output={tmp_path}/undisturbed").code == 0
    assert written(output) == written(tmp_path / "undisturbed")
    assert {name: written(output)[name] for name in finished} == finished


def test_the_engine_and_the_reason_for_it_are_printed(
    command: Command, tmp_path: Path, mels: Path, trained: Path
) -> None:
    given = [f"model={trained}", f"input={mels}", "limit=1", "device=cpu"]
    chosen = command("synthesize", *given, f"output={tmp_path}/a", "threads=1")
    assert "engine: cpu, float32, 1 thread (default on cpu)" in chosen.out
    given_engine = command("synthesize", *given, f"output={tmp_path}/b", "engine=cpu", "threads=2")
    assert "engine: cpu, float32, 2 threads\n" in given_engine.out
    assert written(tmp_path / "a") == written(tmp_path / "b")


@pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")
def test_wavs_of_bfloat16_and_float32_are_not_mixed_in_a_folder(
    command: Command, tmp_path: Path, mels: Path, trained: Path
) -> None:
    given = [f"model={trained}", f"input={mels}", "limit=1", "device=cpu", f"output={tmp_path}/wavs"]
    assert "bfloat16" in command("synthesize", *given, "precision=bfloat16").out
    refused = command("synthesize", *given)
    assert refused.code == 2
    assert "wavs differ in engine" in refused.err
    assert command("synthesize", *given, "overwrite=true").code == 0


def test_bfloat16_is_refused_on_a_processor_without_it(
    command: Command, tmp_path: Path, mels: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocoder.engines.cpu.HAS_BF16", False)
    given = [f"model={trained}", f"input={mels}", f"output={tmp_path}/wavs", "device=cpu", "precision=bfloat16"]
    refused = command("synthesize", *given)
    assert refused.code == 2
    assert "use precision=float32" in refused.err


def test_a_single_file_is_folded_and_a_folder_is_not(
    command: Command, tmp_path: Path, speech_store: Store, trained: Path
) -> None:
    mel = speech_store.read(max(speech_store.entries, key=lambda entry: entry.frames), 0, 200).mel.T
    (tmp_path / "mels").mkdir()
    np.save(tmp_path / "mels/speech.npy", mel)
    given = [f"model={trained}", "device=cpu"]

    def printed(name: str, source: str, *more: str) -> str:
        return command("synthesize", *given, f"input={tmp_path}/{source}", f"output={tmp_path}/{name}", *more).out

    assert ", folded" in printed("folded", "mels/speech.npy")
    assert ", folded" not in printed("off", "mels/speech.npy", "fold=off")
    assert ", folded" not in printed("folder", "mels")
    assert written(tmp_path / "off") == written(tmp_path / "folder")
    assert written(tmp_path / "off") != written(tmp_path / "folded")
    assert soundfile.info(tmp_path / "folded/speech.wav").frames == 200 * 200


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("executor=dask", "give scheduler=tcp://HOST:PORT"),
        ("executor=slurm", "local"),
        ("fold=maybe", "auto"),
        ("precision=float16", "precision=float16"),
        ("engine=gpu", "engine=gpu"),
        ("speaker=ann", "speaker=ann: this model was trained without speakers"),
        ("mel.from=hifigan", "mel.from=hifigan: unknown (did you mean hifigan_22k?)"),
        ("mel.from=hifigan_22k", "mel.convert=approximate converts with a loss of"),
        ("mel.statistics=nowhere.npz", "nowhere.npz"),
        ("mel.layout=frames_last", "did you mean"),
        ("mel.form=hifigan_22k", "did you mean mel.from?"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_work(
    command: Command, tmp_path: Path, mels: Path, trained: Path, wrong: str, words: str
) -> None:
    refused = command("synthesize", f"model={trained}", f"input={mels}", f"output={tmp_path}/wavs", wrong)
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1
    assert words in refused.err
    assert not (tmp_path / "wavs").exists()


def test_an_approximate_conversion_says_what_it_loses(command: Command, tmp_path: Path, trained: Path) -> None:
    wave, rate = soundfile.read(Path(__file__).parent.parent / "speech/june/hello-world.flac", dtype="float32")
    mel = log_mel(torch.from_numpy(resample(wave, rate, 22050)), PRESETS["hifigan_22k"]).numpy()
    np.save(tmp_path / "hello.npy", mel.T)
    given = [f"model={trained}", f"input={tmp_path}/hello.npy", f"output={tmp_path}/wavs", "device=cpu"]
    done = command("synthesize", *given, "mel.from=hifigan_22k", "mel.convert=approximate")
    assert done.code == 0
    assert "vocoder-synthesize: mels of hifigan_22k for speech_16k: an approximation, with a loss of 0.9 dB" in done.err
    assert abs(soundfile.info(tmp_path / "wavs/hello.wav").duration - len(wave) / rate) < 0.03
    refused = command("synthesize", *given)
    assert refused.code == 2
    assert "its wavs differ in mel" in refused.err


@pytest.mark.parametrize("place", ["file", "file/deeper"])
def test_an_output_that_is_a_file_is_refused(
    command: Command, tmp_path: Path, mels: Path, trained: Path, place: str
) -> None:
    (tmp_path / "file").write_text("precious")
    refused = command("synthesize", f"model={trained}", f"input={mels}", f"output={tmp_path}/{place}", "limit=1")
    assert refused.code == 2
    assert f"{tmp_path}/file is a file" in refused.err
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_a_containers_quota_limits_the_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int | None
) -> None:
    bound = len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cpu, "CGROUP_QUOTA", tmp_path / "cpu.max")
    assert cpu.available_cores() == min(bound, cores or bound)


@pytest.mark.parametrize("name", ["preprocess", "train", "synthesize"])
def test_help_shows_every_setting_with_its_comment(command: Command, name: str) -> None:
    shown = command(name, "--help")
    assert shown.code == 0
    first, *lines = shown.out.splitlines()
    assert first.startswith(f"vocoder-{name} ")
    assert "hydra" not in shown.out
    for word in {"preprocess": ["peak: auto #", "mel=hifigan_22k #"], "synthesize": ["fold: auto # "]}.get(
        name, ["learning_rate:", "model=r9y9: ", "experiment=null # ", "      layers: 18", "components: 10"]
    ):
        assert any(word in line for line in lines), word
