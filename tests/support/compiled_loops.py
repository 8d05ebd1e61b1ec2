"""Compile the loops once for all processes of a test run; otherwise each process would compile them."""

import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from vocoder.device import autocast
from vocoder.engines import pick_engine
from vocoder.kernels.processor import HAS_BF16
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
    """Compile every loop in each precision that this processor supports, before the tests of any xdist worker run.

    Even-numbered workers begin with the loops of training, odd-numbered ones with those of synthesis; each then waits
    for the other. A lock keeps two workers from compiling the same loop, in whatever precision, because the index of
    numba's cache has none. Without xdist, loops are compiled when a test needs them.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    wavenet = replace(config.model.wavenet, samples_per_step=2, head_context=4)
    with_steps = build_model(replace(config, model=replace(config.model, wavenet=wavenet)))
    models, precisions = (build_model(config), with_steps), ("float32", "bfloat16")[: 1 + HAS_BF16]
    steps = [("training", train), ("synthesis", synthesize)]
    for name, step in steps[:: -1 if int(worker.removeprefix("gw")) % 2 else 1]:
        with FileLock(locks / f"{name}.lock"):
            for model, precision in product(models, precisions):
                step(model, precision)
