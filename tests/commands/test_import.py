"""vocoder-import: a checkpoint becomes a model that the other commands take, or one line says why not."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from scripts.experiments.compare_r9y9 import write_checkpoint
from scripts.experiments.r9y9_variants import VARIANTS, Variant
from vocoder.features.mel import PRESETS
from vocoder.features.recognition import MelStatistics
from vocoder.synthesis import load

MIXTURE = VARIANTS["mixture of logistics"]
RECIPE_SIZE = Variant(
    "current",
    {**VARIANTS["recipe's size"].changes, "postprocess": "inv_preemphasis", "global_gain_scale": 0.55},
)


def test_a_checkpoint_is_imported_and_synthesises(command: Callable, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path, MIXTURE)
    stats, model = tmp_path / "stats.npz", tmp_path / "model"
    result = command("import", f"source={source}", f"stats={stats}", f"output={model}")
    assert (result.code, result.err) == (0, "")
    assert "layout current, step 7" in result.out
    assert {path.name for path in model.iterdir()} == {
        "config.json",
        "manifest.json",
        "metrics.json",
        "model.safetensors",
    }
    assert json.loads((model / "metrics.json").read_text())["imported"]["source"] == source.name
    np.save(tmp_path / "mel.npy", np.random.default_rng(0).standard_normal((6, 30)).astype(np.float32) - 3)
    result = command("synthesize", f"model={model}", f"input={tmp_path}/mel.npy", f"output={tmp_path}/wavs")
    assert result.code == 0
    assert len(soundfile.read(tmp_path / "wavs/mel.wav")[0]) == 30 * 12


@pytest.mark.parametrize(
    ("layout", "upsampling"),
    [
        ("current", {"upsample_params": {"upsample_scales": [16, 16]}}),
        pytest.param(
            *("0.1.1", {"upsample_scales": [16, 16]}),
            marks=pytest.mark.skipif(find_spec("wavenet_vocoder") is None, reason="needs wavenet-vocoder 0.1.1"),
        ),
    ],
)
def test_another_mel_than_theirs_is_a_preset_with_its_statistics(
    command: Callable, tmp_path: Path, layout: str, upsampling: dict[str, Any]
) -> None:
    sizes = {"num_mels": 80, "cin_channels": 80, "hop_size": 256}
    source, model = write_checkpoint(tmp_path, Variant(layout, sizes | upsampling)), tmp_path / "model"
    np.savez(tmp_path / "other.npz", mean=np.full(80, -5.0), scale=np.full(80, 2.0))
    given = [f"source={source}", f"output={model}"]
    wrong = command("import", *given, "preset=hifigan", "stats=none")
    assert (wrong.code, "did you mean hifigan_22k?" in wrong.err) == (2, True)
    result = command("import", *given, "preset=hifigan_22k", f"stats={tmp_path}/other.npz")
    assert (result.code, result.err) == (0, "")
    loaded = load(model, engine="reference").model
    assert loaded.spec == PRESETS["hifigan_22k"]
    assert loaded.mel_statistics == MelStatistics((-5.0,) * 80, (2.0,) * 80)


@pytest.mark.slow
def test_a_network_of_the_recipes_size_runs_on_the_cpu_engine(command: Callable, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path, RECIPE_SIZE)
    imported = command("import", f"source={source}", f"stats={tmp_path}/stats.npz", f"output={tmp_path}/model")
    assert (imported.code, imported.err) == (0, "")
    np.save(tmp_path / "mel.npy", np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32) - 3)
    given = [f"model={tmp_path}/model", f"input={tmp_path}/mel.npy", f"output={tmp_path}/wavs", "engine=cpu"]
    assert command("synthesize", *given, "threads=1", "fold=off").code == 0
    wave, rate = soundfile.read(tmp_path / "wavs/mel.wav")
    assert (len(wave), rate) == (4 * 256, 22050)
    assert wave.std() > 0


def test_averaged_weights_beside_the_checkpoint_are_mentioned(command: Callable, tmp_path: Path) -> None:
    averaged = write_checkpoint(tmp_path, MIXTURE)
    source = averaged.rename(tmp_path / "checkpoint_step000000007.pth")
    averaged.touch()
    result = command("import", f"source={source}", "stats=none", f"output={tmp_path}/model")
    assert result.code == 0
    assert averaged.name in result.out


def test_what_is_wrong_is_one_line_and_nothing_is_written(command: Callable, tmp_path: Path) -> None:
    source, model = write_checkpoint(tmp_path, MIXTURE), tmp_path / "model"
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {"upsampling.conv.weight": torch.zeros(1)}}, other)
    for arguments, named in (
        (["source=nowhere.pth"], "nowhere.pth"),
        ([f"source={source}", "hparams=nowhere.json"], "nowhere.json"),
        ([f"source={source}", "stats=nowhere.npz"], "nowhere.npz"),
        ([f"source={source}"], "stats"),
        ([f"source={other}", "stats=none"], "not a checkpoint of r9y9"),
        ([f"source={source}", "statts=none"], "did you mean stats?"),
    ):
        result = command("import", *arguments, f"output={model}")
        assert result.code == 2
        assert result.err.startswith("vocoder-import: ")
        assert len(result.err.splitlines()) == 1
        assert named in result.err
        assert not model.exists()


def test_an_output_that_holds_something_is_not_replaced(command: Callable, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path, MIXTURE)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/note.txt").write_text("mine")
    result = command("import", f"source={source}", "stats=none", f"output={tmp_path}/model")
    assert result.code == 2
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["note.txt"]
