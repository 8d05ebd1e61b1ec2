"""Imported networks of r9y9's wavenet_vocoder, compared with the originals: the largest error of any parameter.

    python -m scripts.experiments.compare_r9y9 [--seeds 5]

Random networks of each variant are written as checkpoints and imported. Both sides are given the same utterance, sample
by sample, and must emit the same parameters of each sample's distribution. The original of the current layout is
computed in NumPy from its description (`r9y9_networks.py`); that of 0.1.1 is the package from PyPI, its forward pass
and its generation, whichever differs more; those rows are left out where it is not installed.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scripts.experiments.r9y9_networks import random_state, their_params
from scripts.experiments.r9y9_variants import VARIANTS, Variant
from vocoder.engines import Engine, Noise, ReferenceEngine, pick_engine
from vocoder.importers import Imported, import_r9y9
from vocoder.model import VocoderModel, extend_edges
from vocoder.synthesis import frames_of

FRAMES = 4
SPEAKER = 1


def write_checkpoint(folder: Path, variant: Variant, seed: int = 0) -> Path:
    """A checkpoint with random weights and its hparams.json, as theirs; statistics in stats.npz."""
    path = folder / "checkpoint_step000000007_ema.pth"
    torch.save({"state_dict": random_state(variant, seed), "optimizer": None, "global_step": 7}, path)
    (folder / "hparams.json").write_text(json.dumps(variant.hparams))
    n_mels = variant.hparams["num_mels"]
    np.savez(folder / "stats.npz", mean=np.linspace(-3, -1, n_mels), scale=np.linspace(0.5, 2, n_mels))
    return path


def imported(folder: Path, variant: Variant, seed: int = 0) -> Imported:
    """The model of a checkpoint that is written to `folder`."""
    path = write_checkpoint(folder, variant, seed)
    return import_r9y9(path, stats=str(folder / "stats.npz") if variant.layout == "current" else None)


def random_waves(model: VocoderModel) -> Tensor:
    """[1, FRAMES H]."""
    generator = torch.Generator().manual_seed(3)
    waves = 0.4 * torch.randn(1, FRAMES * model.spec.hop_length, generator=generator)
    return model.distribution.grid.round(waves.clamp(-0.95, 0.95))


def random_mels(model: VocoderModel) -> Tensor:
    """Log10 mels [1, n_mels, FRAMES]."""
    return torch.randn(1, model.spec.n_mels, FRAMES, generator=torch.Generator().manual_seed(4)) - 2


def speaker_of(model: VocoderModel) -> Tensor | None:
    return torch.tensor([SPEAKER]) if model.speakers else None


def expected_params(
    folder: Path,
    variant: Variant,
    model: VocoderModel,
    waves: Tensor,
    mel: Tensor,
    seed: int = 0,
    *,
    incremental: bool = False,
) -> Tensor:
    """Theirs [P, F H], of an utterance that silence and the repeated first frame precede."""
    history = model.history_frames
    silence = np.zeros(history * model.spec.hop_length)
    wave = np.concatenate((silence, waves[0].double().numpy()))
    if variant.hparams["input_type"] != "raw":
        wave = classes_of(wave)
    padded = max(model.context_frames, variant.hparams.get("cin_pad", 0))
    frames = normalised(folder, variant, extend_edges(mel, history + padded, padded)[0])
    state = random_state(variant, seed)
    params = their_params(variant, state, wave, frames, SPEAKER, padded, incremental=incremental)
    return torch.from_numpy(params[:, len(silence) :]).float()


def normalised(folder: Path, variant: Variant, mel: Tensor) -> np.ndarray:
    """Log10 mels as their networks take them."""
    if variant.layout == "current":
        stats = np.load(folder / "stats.npz")
        return (mel.double().numpy() - stats["mean"][:, None]) / stats["scale"][:, None]
    return (20 * mel.double().numpy() - 20 + 100) / 100


def classes_of(wave: np.ndarray) -> np.ndarray:
    """mu-law classes of 256, each value's by its companded value; zero, between two of them, is of the lower one."""
    companded = np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log(256)
    return np.ceil(np.round((companded + 1) / 2 * 255, 3) - 0.5).astype(int)


@torch.inference_mode()
def forward_params(model: VocoderModel, waves: Tensor, mel: Tensor) -> Tensor:
    """Ours [P, F H], all samples at once."""
    before = model.history_frames + model.context_frames
    padded = torch.cat((waves.new_zeros(1, model.history_frames * model.spec.hop_length), waves), 1)
    params: Tensor = model(padded, extend_edges(mel, before, model.context_frames), speaker_of(model))
    return params[0]


def engine_params(engine: Engine, waves: Tensor, mel: Tensor) -> Tensor:
    """Ours [P, F H], sample by sample."""
    model, lanes, hop = engine.model, engine.lanes(1), engine.model.spec.hop_length
    noise = Noise(0, [""], model.distribution.uniforms)
    frames = list(frames_of(model, [mel[0].numpy()], noise, speaker_of(model)))
    given = [*np.zeros((model.history_frames, hop), np.float32), *waves.numpy().reshape(-1, hop)]
    params = [lanes.predict([replace(frame, forced=forced)]) for frame, forced in zip(frames, given, strict=True)]
    return torch.from_numpy(np.concatenate(params[model.history_frames :], 2))[0]


def errors_of(variant: Variant, seeds: Sequence[int]) -> dict[str, float]:
    """The largest error of any parameter, by the way in which ours are computed; and how theirs vary over time."""
    errors = {"forward": 0.0, "reference": 0.0, "cpu": 0.0, "spread": 0.0}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            model = imported(Path(folder), variant, seed).model
            waves, mel = random_waves(model), random_mels(model)
            expected = expected_params(Path(folder), variant, model, waves, mel, seed)
            ours = {
                "forward": forward_params(model, waves, mel),
                "reference": engine_params(ReferenceEngine(model), waves, mel),
                "cpu": engine_params(pick_engine(model, "cpu"), waves, mel),
            }
            theirs = [expected]
            if variant.layout != "current":
                theirs.append(expected_params(Path(folder), variant, model, waves, mel, seed, incremental=True))
            for way, params in ours.items():
                errors[way] = max(errors[way], *(float((params - their).abs().max()) for their in theirs))
            errors["spread"] = max(errors["spread"], float(expected.std(1).mean()))
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="random networks of each variant")
    arguments = parser.parse_args()
    released = find_spec("wavenet_vocoder") is not None
    print("| variant | standard deviation over time | forward pass | reference engine | cpu engine |")
    print("| --- | --- | --- | --- | --- |")
    for name, variant in VARIANTS.items():
        if variant.layout == "current" or released:
            errors = errors_of(variant, range(arguments.seeds))
            cells = (f"{errors[way]:.1e}" for way in ("forward", "reference", "cpu"))
            print(f"| {name} | {errors['spread']:.2g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
