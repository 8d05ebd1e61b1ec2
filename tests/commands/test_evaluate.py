"""vocoder-evaluate: models, baselines and folders of wavs against recordings; resumption; a user's mistakes."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder.data.store import Store
from vocoder.evaluation.likelihood import likelihood
from vocoder.model import find_checkpoint, load_model

Command = Callable[..., Any]
SPEECH = Path(__file__).parent.parent / "speech/allison"
QUICK = ["measures=[bits,log_mel,clicks,flac_bits]", "baselines=[]", "workers=0"]


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Recordings, and what two vocoders made of them: one an exact copy with a wav missing, one with noise."""
    home = tmp_path_factory.mktemp("folders")
    for path in sorted(SPEECH.glob("*.flac"))[:3]:
        wave, rate = soundfile.read(path, dtype="float32")
        noisy = (wave + 0.01 * np.random.default_rng(0).standard_normal(len(wave))).astype(np.float32)
        for name, samples in (("reference", wave), ("copy", wave), ("noisy", noisy)):
            (home / name).mkdir(exist_ok=True)
            soundfile.write(home / name / f"{path.stem}.wav", samples, rate, "PCM_16")
    next((home / "copy").iterdir()).unlink()
    return home, home / "reference"


def test_a_model_is_measured_against_a_store(
    trained: Path, speech_store: Store, tmp_path: Path, command: Command
) -> None:
    arguments = [f"model={trained}", f"data={speech_store.directory}", "split=train", f"output={tmp_path}", *QUICK]
    done = command("evaluate", *arguments, "limit=2", "seeds=2")
    assert done.code == 0, done.err
    assert f"open {tmp_path}/report.html" in done.out
    found = results(tmp_path)
    assert [system["name"] for system in found["systems"]] == ["original", "tiny"]
    assert len(found["utterances"]) == 2
    model = load_model(find_checkpoint(trained))
    for utterance in found["utterances"]:
        entry = next(entry for entry in speech_store.entries if entry.id == utterance["id"])
        rendition, original = (utterance["renditions"][name] for name in ("tiny", "original"))
        expected = likelihood(model, speech_store, [entry]).per_sample
        assert rendition["values"]["bits"] == pytest.approx(expected, rel=1e-6)
        assert sum(samples for _, samples in rendition["bits_by_level"].values()) == entry.frames * 200
        assert sum(bits for bits, _ in rendition["bits_by_level"].values()) == pytest.approx(
            expected * entry.frames * 200
        )
        assert original["values"]["log_mel"] < 0.1 < rendition["values"]["log_mel"]  # 16-bit rounding alone
        assert 0 < original["values"]["flac_bits"] < 16
        assert len(rendition["by_seed"]) == 2
        assert soundfile.info(tmp_path / rendition["wav"]).frames == entry.frames * 200
    assert len(rows(tmp_path / "utterances.csv")) == 4
    summary = {(row["system"], row["measure"]): row for row in rows(tmp_path / "summary.csv")}
    assert math.isfinite(float(summary["tiny", "log_mel"]["seed_spread"]))
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_finished_work_is_not_repeated_and_changed_work_is(
    trained: Path, speech_store: Store, tmp_path: Path, command: Command
) -> None:
    def state() -> dict[Path, int]:
        kept = [*tmp_path.glob("wavs/**/*.wav"), *tmp_path.glob("utterances/*.json"), *tmp_path.glob("likelihoods/*")]
        return {path: path.stat().st_mtime_ns for path in kept}

    arguments = [f"model={trained}", f"data={speech_store.directory}", "split=train", f"output={tmp_path}", "limit=1"]
    assert command("evaluate", *arguments, *QUICK).code == 0
    first, before = results(tmp_path), state()
    assert command("evaluate", *arguments, *QUICK).code == 0
    assert state() == before
    assert results(tmp_path) == first
    assert command("evaluate", *arguments, "measures=[log_mel]", "baselines=[]", "workers=0").code == 0
    assert set(results(tmp_path)["summary"]["tiny"]) == {"log_mel"}
    refused = command("evaluate", *arguments, *QUICK, "temperature=0.5")
    assert refused.code == 2
    assert "temperature" in refused.err
    assert refused.err.count("\n") == 1
    assert command("evaluate", *arguments, *QUICK, "temperature=0.5", "overwrite=true").code == 0


def test_folders_of_wavs_are_compared_and_a_missing_wav_is_a_line(
    folders: tuple[Path, Path], tmp_path: Path, command: Command
) -> None:
    home, reference = folders
    generated = f"generated={home}/copy,{home}/noisy"
    done = command("evaluate", generated, f"reference={reference}", f"output={tmp_path}", *QUICK)
    assert done.code == 1
    assert done.err.count("copy: has no wav for") == 1
    found = results(tmp_path)
    assert len(found["utterances"]) == 3
    for utterance in found["utterances"]:
        values = {name: rendition["values"] for name, rendition in utterance["renditions"].items()}
        assert values["noisy"]["log_mel"] > 1
        if "copy" in values:
            assert values["copy"]["log_mel"] == values["original"]["log_mel"]
    assert found["summary"]["copy"]["log_mel"]["count"] == 2


def test_a_file_that_cannot_be_read_is_a_line_at_the_end(
    trained: Path, folders: tuple[Path, Path], tmp_path: Path, command: Command
) -> None:
    data = tmp_path / "data"
    shutil.copytree(folders[1], data)
    (data / "broken.wav").write_bytes(b"RIFF")
    done = command("evaluate", f"model={trained}", f"data={data}", f"output={tmp_path}/out", *QUICK)
    assert done.code == 1
    assert "broken" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert len(results(tmp_path / "out")["utterances"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give model=… data=…, or generated=… reference=…"),
        (["model=a", "data=b", "generated=c"], "give model and data, or generated and reference"),
        (["generated=a", "reference=b", "baselines=[griffinlim]"], "did you mean griffin_lim"),
        (["generated=a", "reference=b", "measures=[peqs_wb]"], "did you mean pesq_wb"),
        (["generated=a", "reference=b", "mel_preset=hifigan"], "did you mean hifigan_22k"),
        (["generated=a", "reference=nowhere"], "reference=nowhere: no such folder"),
        (["model=nowhere", "data=b"], "model=nowhere: no such directory"),
        (["generated=a", "reference=b", "seeds=0"], "seeds=0: must be at least 1"),
    ],
)
def test_a_wrong_setting_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path, command: Command
) -> None:
    done = command("evaluate", *arguments, f"output={tmp_path}/out")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
