"""Train r9y9's wavenet-vocoder (0.1.1 from PyPI) on a store, to compare it with this project's models.

    python -m scripts.experiments.train_r9y9 data/voices runs/r9y9 --minutes 60 --every 20

His network, at the size of his mixture-of-logistics recipe, with his loss and that recipe's optimiser: Adam at 1e-3,
an exponential moving average of the weights (0.9999), segments of 30 frames. Every so many minutes OUTPUT gets a
checkpoint of the averaged weights, `checkpoint_stepN_ema.pth`, in his layout. Beside them are `hparams.json`, and
`stats.npz`, which brings the store's mels to the range from 0 to 1 that his upsampling expects: what `vocoder-import`
takes. The minutes are processor time, which on one thread (OMP_NUM_THREADS=1) is the time of a machine that does
nothing else.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.benchmarks.networks import R9Y9_SIZES, r9y9_wavenet
from vocoder.data.dataset import Margins, SegmentBatches
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec

FRAMES, EMA_DECAY = 30, 0.9999
HPARAMS = R9Y9_SIZES | {
    "input_type": "raw",
    "quantize_channels": 65536,
    "kernel_size": 3,
    "gin_channels": -1,
    "weight_normalization": True,
    "freq_axis_kernel_size": 3,
    "legacy": True,
    "log_scale_min": -16.0,
    "num_mels": 80,
}


def statistics(spec: MelSpec) -> dict[str, np.ndarray]:
    """mean and scale [n_mels] with which (mel - mean) / scale lies between 0 and 1."""
    span = spec.log_maximum - spec.log_minimum
    return {"mean": np.full(spec.n_mels, spec.log_minimum), "scale": np.full(spec.n_mels, span)}


class Training:
    """His network in training on batches of a store."""

    def __init__(self, store: Store, batch_size: int, seed: int) -> None:
        self.batches = SegmentBatches(store, batch_size, FRAMES, Margins(0, 0), seed)
        self.statistics = statistics(store.spec)
        self._mean, self._scale = (torch.from_numpy(values)[:, None].float() for values in self.statistics.values())
        self.model = r9y9_wavenet()
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.averaged = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.steps = 0

    def step(self) -> float:
        """Take a step; return its loss in nats per sample."""
        from wavenet_vocoder.mixture import discretized_mix_logistic_loss  # type: ignore[import-not-found, import-untyped, unused-ignore]

        batch = self.batches[self.steps]
        params = self.model(batch.waves[:, None], (batch.mel - self._mean) / self._scale)[:, :, :-1]
        target = batch.waves[:, 1:, None]
        loss = discretized_mix_logistic_loss(
            params, target, num_classes=65536, log_scale_min=HPARAMS["log_scale_min"], reduce=False
        ).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, list(self.model.parameters()), 1 - min(EMA_DECAY, self._early_decay()))
        return float(loss.detach())

    def _early_decay(self) -> float:
        """Without it, an average over so few steps would still be that of random weights."""
        return (1 + self.steps) / (10 + self.steps)

    def averaged_state(self) -> dict[str, Any]:
        """The averaged weights, by the names of his network."""
        names = (name for name, _ in self.model.named_parameters())
        return dict(zip(names, self.averaged, strict=True))


def train(training: Training, output: Path, minutes: float, every: float) -> None:
    """Train for so many minutes of processor time, with a checkpoint every so many."""
    started, seconds, saved, losses = time.process_time(), 0.0, 0.0, []
    while seconds < minutes * 60:
        losses.append(training.step())
        seconds = time.process_time() - started
        if seconds - saved >= every * 60 or seconds >= minutes * 60:
            saved = seconds
            path = output / f"checkpoint_step{training.steps:09d}_ema.pth"
            torch.save({"state_dict": training.averaged_state(), "global_step": training.steps}, path)
            print(f"{seconds / 60:.0f} minutes, step {training.steps}: {np.mean(losses[-200:]):.3f} nats, {path}")
            sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--every", type=float, required=True, help="minutes between checkpoints")
    parser.add_argument("--batch-size", type=int, default=2, help="his recipe takes 8, on a GPU")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        training = Training(Store(arguments.store), arguments.batch_size, arguments.seed)
        arguments.output.mkdir(parents=True)
    except (UserError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (arguments.output / "hparams.json").write_text(json.dumps(HPARAMS, indent=2) + "\n", encoding="utf-8")
    mean, scale = training.statistics.values()
    np.savez(arguments.output / "stats.npz", mean=mean, scale=scale)
    train(training, arguments.output, arguments.minutes, arguments.every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
