"""Every distribution, end to end: trained on real speech, saved, loaded, and used for synthesis."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vocoder.data.store import Store
from vocoder.distributions import Categorical, Gaussian, MixtureOfGaussians, MixtureOfLogistics
from vocoder.evaluation.likelihood import likelihood
from vocoder.model import LinearPredictionConfig, VocoderConfig, find_checkpoint, load_model
from vocoder.synthesis import Request, Vocoder
from vocoder.training import Loop, Monitor, Run, Trainer
from vocoder.training.config import CheckpointConfig, LengthConfig
from vocoder.training.interrupts import Interrupts

DISTRIBUTIONS: dict[str, Any] = {
    "logistics": MixtureOfLogistics(4),
    "8-bit logistics": MixtureOfLogistics(4, levels=256),
    "gaussian": Gaussian(),
    "gaussian density": Gaussian(density=True),
    "gaussians": MixtureOfGaussians(4),
    "mu-law": Categorical(),
}
CASES = [(name, kind) for name in DISTRIBUTIONS for kind in ("none", "mel") if (name, kind) != ("mu-law", "mel")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_distribution_learns_real_speech_and_synthesises(
    make_trainer: Callable[..., Trainer],
    config: VocoderConfig,
    speech_store: Store,
    tmp_path: Path,
    name: str,
    kind: Any,
) -> None:
    parts = replace(config.model, linear_prediction=LinearPredictionConfig(kind))
    vocoder_config = replace(config, distribution=DISTRIBUTIONS[name], model=parts)
    evaluations = CheckpointConfig(every=30, dev_seconds=1.0)
    trainer = make_trainer(model=vocoder_config, length=LengthConfig(steps=60), checkpoint=evaluations)
    entries = speech_store.split("dev")
    before = likelihood(trainer.ema_model().eval(), speech_store, entries).per_sample
    monitor = Monitor(tmp_path, 0)
    with Interrupts() as interrupts:
        Loop(trainer, Run(tmp_path), monitor, interrupts, lambda *_: None).train()
    monitor.close()

    checkpoint = find_checkpoint(tmp_path)
    assert checkpoint.config == vocoder_config
    model = load_model(checkpoint)
    after = likelihood(model, speech_store, entries).per_sample
    assert after < before - 0.01
    unit = "density_bits" if "density" in name else "bits"
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = {key for record in records for key in record if "bits" in key}
    assert logged == {f"{unit}/train", f"{unit}/dev"}

    mel = np.ascontiguousarray(speech_store.read(entries[0], 0, 6).mel.T)
    (wave,) = Vocoder(model, postfilter=0).synthesize_batch([Request("a", mel)])  # on the distribution's grid
    assert wave.shape == (6 * speech_store.spec.hop_length,)
    assert len(np.unique(wave)) > 10
    if DISTRIBUTIONS[name].grid.levels == 256:
        values = torch.from_numpy((wave.astype(np.float64) + 1) * 65536 / 65535 - 1)
        assert (DISTRIBUTIONS[name].grid.round(values) - values).abs().max() <= 1.01 / 65535
