"""A checkpoint: a directory that is complete or absent, and that can verify itself.

model.safetensors   weights from the optimiser
ema.safetensors     their exponential moving average, which synthesis uses
config.json         architecture, mel contract, distribution, speakers
metrics.json        step, minutes of training, dev bits per sample, score by which the best checkpoint is chosen
train_state.pt      optimiser, loss scaler, counters, guard, training settings; absent from a shipped model, which is
                    for inference only
manifest.json       size and SHA-256 of each of these, written last
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vocoder.errors import UserError
from vocoder.files import atomic_directory, read_json, write_json
from vocoder.model.config import VocoderConfig, build_model
from vocoder.model.vocoder_model import VocoderModel

MANIFEST = "manifest.json"
TRAIN_STATE = "train_state.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory; `open_checkpoint` gives a verified one."""

    directory: Path

    @property
    def config(self) -> VocoderConfig:
        return VocoderConfig.from_json(read_json(self.directory / "config.json"), f"{self.directory}/config.json")

    @property
    def step(self) -> int:
        return int(read_json(self.directory / "metrics.json")["step"])

    @property
    def dev_bits(self) -> float:
        """Dev bits per sample of the averaged weights; infinite if never measured or not finite."""
        bits = read_json(self.directory / "metrics.json")["dev_bits"]
        return float("inf") if bits is None or not math.isfinite(bits) else float(bits)

    @property
    def best_by(self) -> str:
        """The measure that `score` is of."""
        return str(read_json(self.directory / "metrics.json").get("best_by", "bits"))

    @property
    def score(self) -> float:
        """How good it is, lower is better; infinite if never measured or not finite."""
        metrics = read_json(self.directory / "metrics.json")
        score = metrics.get("score") if self.best_by != "bits" else metrics["dev_bits"]
        return float("inf") if score is None or not math.isfinite(score) else float(score)

    @property
    def data(self) -> str | None:
        """The identity of the store that it was trained and evaluated on; None if an earlier version made either."""
        identity = read_json(self.directory / "metrics.json").get("data")
        return None if identity is None else str(identity)

    @property
    def averaged(self) -> str:
        """The name of the averaged weights: "ema", or "model" in a shipped model, which has no others."""
        return "ema" if (self.directory / "ema.safetensors").exists() else "model"

    def weights(self, name: str) -> dict[str, Tensor]:
        """The state dict called `name`: "model" or "ema"."""
        return safetensors.torch.load_file(self.directory / f"{name}.safetensors")

    def train_state(self) -> dict[str, Any]:
        """Raises UserError for a shipped model, whose training cannot be resumed."""
        path = self.directory / TRAIN_STATE
        if not path.exists():
            raise UserError(
                f"{self.directory}: has no {TRAIN_STATE}, so training cannot resume; start a new run with init_from"
            )
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state


def save_checkpoint(
    directory: Path,
    config: VocoderConfig,
    weights: Mapping[str, Mapping[str, Tensor]],
    metrics: Mapping[str, Any],
    train_state: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint atomically.

    Raises:
        UserError: no space, or no permission; nothing half-written remains.
    """
    with atomic_directory(directory) as partial:
        for name, state in weights.items():
            plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
            try:
                safetensors.torch.save_file(plain, partial / f"{name}.safetensors")
            except safetensors.SafetensorError as error:  # the operating system's error, as text
                raise UserError(f"{directory}: weights cannot be written ({error}); is the disk full?") from error
        if train_state is not None:
            try:
                torch.save(dict(train_state), partial / TRAIN_STATE)
            except RuntimeError as error:  # torch's zip writer hides the operating system's error
                raise UserError(f"{directory}: train state cannot be written; is the disk full?") from error
        write_json(partial / "config.json", config.to_json())
        write_json(partial / "metrics.json", dict(metrics))
        write_json(partial / MANIFEST, {file.name: _fingerprint(file) for file in sorted(partial.iterdir())})


def open_checkpoint(directory: Path) -> Checkpoint:
    """A checkpoint, after verifying each of its files against the manifest.

    Raises:
        UserError: a file is missing or damaged; the message names it.
    """
    if not (directory / MANIFEST).exists():
        raise UserError(f"{directory}: not a complete model or checkpoint (no {MANIFEST}); choose another")
    manifest = read_json(directory / MANIFEST)
    for required in ("config.json", "metrics.json", "model.safetensors"):
        if required not in manifest:
            raise UserError(f"{directory}: incomplete, its manifest does not list {required}")
    for name, expected in manifest.items():
        file = directory / name
        if not file.exists():
            if name == TRAIN_STATE:  # left out of a shipped model
                continue
            raise UserError(f"{directory}: incomplete, {name} is missing; choose another checkpoint")
        if _fingerprint(file) != expected:
            raise UserError(f"{file}: damaged (size or SHA-256 differs from the manifest); choose another checkpoint")
    return Checkpoint(directory)


def checkpoints_in(run: Path) -> list[Path]:
    """Checkpoint directories of a training run, oldest first, not verified."""
    return sorted((run / "checkpoints").glob("step-*"))


def find_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`; in a training run, the best undamaged one.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        raise UserError(f"model={path}: no such directory; give a run or a checkpoint")
    candidates = checkpoints_in(path)
    if not candidates:
        return open_checkpoint(path)
    whole = []
    for candidate in candidates:
        try:
            whole.append(open_checkpoint(candidate))
        except UserError as error:
            damage = error
    if not whole:
        raise damage
    return best_of(whole)


def best_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The one with the lowest score, of equal ones the last; only scores of the last one's measure and data count."""
    last = checkpoints[-1]

    def score(found: Checkpoint) -> float:
        return found.score if (found.best_by, found.data) == (last.best_by, last.data) else float("inf")

    return min(reversed(checkpoints), key=score)


def load_model(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> VocoderModel:
    """The checkpoint's model with its averaged weights, in eval mode; raises UserError as `load_weights`."""
    model = build_model(checkpoint.config)
    load_weights(model, checkpoint, checkpoint.averaged)
    model.wavenet.fold_weight_norm()
    return model.to(device).eval()


def load_weights(model: VocoderModel, checkpoint: Checkpoint, name: str) -> None:
    """Load the state dict called `name` into a model of the checkpoint's config.

    Raises:
        UserError: an earlier version made it, whose network had other weights for this config.
    """
    try:
        model.load_state_dict(checkpoint.weights(name))
    except RuntimeError as error:
        raise UserError(f"{checkpoint.directory}: its weights do not fit this version's network; retrain it") from error


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}
