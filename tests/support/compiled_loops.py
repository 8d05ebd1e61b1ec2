"""Compile the loops once for all processes of a test run: at the same time each would compile them for itself."""

import os
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from vocoder.device import autocast
from vocoder.engines import pick_engine
from vocoder.kernels.matmul import HAS_BF16
from vocoder.model import VocoderConfig, VocoderModel, build_model
from vocoder.synthesis import Vocoder

CPU, FRAMES = torch.device("cpu"), 4


def train(model: VocoderModel, precision: str) -> None:
    history, context = model.history_frames, model.context_frames
    waves = torch.zeros(1, (history + FRAMES) * model.spec.hop_length)
    mel = torch.zeros(1, model.spec.n_mels, history + FRAMES + 2 * context)
    with autocast(getattr(torch, precision), CPU):
        loss = -model.log_prob(waves, mel).mean()
    loss.backward()


def synthesize(model: VocoderModel, precision: str) -> None:
    mel = np.full((model.spec.n_mels, FRAMES), -4.0, np.float32)
    Vocoder(model, pick_engine(model, "cpu", precision)).synthesize(mel)


def compile_loops(config: VocoderConfig, locks: Path) -> None:
    """Every loop, in each precision that this processor multiplies, by whichever worker of xdist comes first.

    The first worker begins with those of training, the second with those of synthesis, and each waits for the other.
    Never do two of them compile one loop, were it in two precisions: numba's index of what it keeps has no lock.
    One process alone compiles what its tests need, when they need it.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    model, precisions = build_model(config), ("float32", "bfloat16")[: 1 + HAS_BF16]
    steps = [("training", train), ("synthesis", synthesize)]
    for name, step in steps[:: -1 if int(worker.removeprefix("gw")) % 2 else 1]:
        with FileLock(locks / f"{name}.lock"):
            for precision in precisions:
                step(model, precision)
