"""Imported networks compute what theirs compute: of the current layout in NumPy, of 0.1.1 in the package from PyPI."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts.experiments.r9y9_networks import HOP, VARIANTS, Variant, random_state, their_params
from support.models import engine_params, forward_params

from vocoder.engines import ReferenceEngine, pick_engine
from vocoder.importers import Imported, import_r9y9
from vocoder.model import VocoderModel, extend_edges

FRAMES = 8
SPEAKER = 1


def variants(*names: str) -> pytest.MarkDecorator:
    """Some variants, or all; those of 0.1.1 need its package."""
    package = pytest.mark.skipif(find_spec("wavenet_vocoder") is None, reason="wavenet-vocoder 0.1.1 is not installed")
    chosen = names or tuple(VARIANTS)
    marked = [pytest.param(VARIANTS[name], id=name, marks=[package] * name.startswith("0.1.1")) for name in chosen]
    return pytest.mark.parametrize("variant", marked)


def write_checkpoint(folder: Path, variant: Variant, seed: int = 0) -> Path:
    """A checkpoint with random weights and its hparams.json, as theirs; statistics in stats.npz."""
    path = folder / "checkpoint_step000000007_ema.pth"
    torch.save({"state_dict": random_state(variant, seed), "optimizer": None, "global_step": 7}, path)
    (folder / "hparams.json").write_text(json.dumps(variant.hparams))
    n_mels = variant.hparams["num_mels"]
    np.savez(folder / "stats.npz", mean=np.linspace(-3, -1, n_mels), scale=np.linspace(0.5, 2, n_mels))
    return path


def imported(folder: Path, variant: Variant, seed: int = 0) -> Imported:
    path = write_checkpoint(folder, variant, seed)
    return import_r9y9(path, stats=str(folder / "stats.npz") if variant.layout == "current" else None)


def normalised(folder: Path, variant: Variant, mel: torch.Tensor) -> np.ndarray:
    """Log10 mels as their networks take them."""
    mel64 = mel.double().numpy()
    if variant.layout == "current":
        stats = np.load(folder / "stats.npz")
        return (mel64 - stats["mean"][:, None]) / stats["scale"][:, None]
    return (20 * mel64 - 20 + 100) / 100


def random_waves(model: VocoderModel, batch: int = 1) -> torch.Tensor:
    torch.manual_seed(3)
    return model.distribution.grid.round((0.4 * torch.randn(batch, FRAMES * HOP)).clamp(-0.95, 0.95))


def random_mels(model: VocoderModel, batch: int = 1) -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(batch, model.spec.n_mels, FRAMES) - 2


def speakers(model: VocoderModel) -> torch.Tensor | None:
    return torch.tensor([SPEAKER]) if model.speakers else None


def expected_params(
    folder: Path, variant: Variant, model: VocoderModel, waves: torch.Tensor, mel: torch.Tensor, seed: int = 0
) -> torch.Tensor:
    """Theirs [P, F H], of an utterance that silence and the repeated first frame precede."""
    history, context = model.history_frames, model.context_frames
    wave = np.concatenate((np.zeros(history * HOP), waves[0].double().numpy()))
    if variant.hparams["input_type"] != "raw":
        wave = classes_of(wave)
    padded = max(context, variant.hparams.get("cin_pad", 0))  # theirs may take more than it uses
    frames = normalised(folder, variant, extend_edges(mel, history + padded, padded)[0])
    params = their_params(variant, random_state(variant, seed), wave, frames, SPEAKER, padded)
    return torch.from_numpy(params[:, history * HOP :]).float()


def classes_of(wave: np.ndarray) -> np.ndarray:
    """mu-law classes of 256, each value's by its companded value; zero, between two of them, is of the lower one."""
    companded = np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log(256)
    return np.ceil(np.round((companded + 1) / 2 * 255, 3) - 0.5).astype(int)


@variants()
@pytest.mark.parametrize("seed", [0, 1])
def test_the_forward_pass_computes_their_parameters(variant: Variant, seed: int, tmp_path: Path) -> None:
    model = imported(tmp_path, variant, seed).model
    waves, mel = random_waves(model), random_mels(model)
    expected = expected_params(tmp_path, variant, model, waves, mel, seed)
    assert expected.std() > 0.1
    computed = forward_params(model, waves, mel, speakers(model))[0]
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-4)


@variants()
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_an_engine_computes_their_parameters_sample_by_sample(variant: Variant, engine: str, tmp_path: Path) -> None:
    model = imported(tmp_path, variant).model
    waves, mel = random_waves(model), random_mels(model)
    expected = expected_params(tmp_path, variant, model, waves, mel)
    made = ReferenceEngine(model) if engine == "reference" else pick_engine(model, "cpu")
    computed = engine_params(made, waves, mel, speakers(model))[0]
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-4)
