"""Free-running generation: engines agree until rounding changes a level, and are equally likely after that."""

import math
from typing import Any

import pytest
import torch
from support.models import HOP, MODELS, generate_waves, random_mel, random_model
from torch import Tensor

from vocoder.engines import ReferenceEngine, pick_engine
from vocoder.kernels import processor
from vocoder.model import VocoderModel, extend_edges

UTTERANCES, FRAMES = 64, 40
NAMES = ["kernel 3", "8 bits", "gaussian", "mixture of gaussians", "categorical", "linear prediction"]
needs_bf16 = pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")


@pytest.mark.parametrize("options", [MODELS[name] for name in NAMES], ids=NAMES)
@pytest.mark.parametrize(("precision", "median"), [("float32", 200), pytest.param("bfloat16", 0, marks=needs_bf16)])
def test_waves_agree_for_many_samples_and_are_as_likely_afterwards(options: Any, precision: str, median: int) -> None:
    model, mel = random_model(**options), random_mel(UTTERANCES, FRAMES)
    reference = generate_waves(ReferenceEngine(model), mel)
    waves = generate_waves(pick_engine(model, "cpu", precision), mel)
    assert agreement(waves, reference) >= median
    theirs, ours = nats(model, reference, mel), nats(model, waves, mel)
    error = math.sqrt((theirs.var() + ours.var()) / UTTERANCES)
    assert abs(float(ours.mean() - theirs.mean())) < 4 * error


def agreement(waves: Tensor, reference: Tensor) -> float:
    """Median number of samples before the waves [B, T] differ."""
    differs = waves != reference
    return float(torch.where(differs.any(1), differs.int().argmax(1), waves.shape[1]).double().median())


@torch.inference_mode()
def nats(model: VocoderModel, waves: Tensor, mel: Tensor) -> Tensor:
    """Negative log-likelihood per sample of each wave [B, T] by the forward pass: [B]."""
    padded = torch.nn.functional.pad(waves, (model.history_frames * HOP, 0))
    padded_mel = extend_edges(mel, model.history_frames + model.context_frames, model.context_frames)
    return -model.log_prob(padded, padded_mel).double().mean(1)
