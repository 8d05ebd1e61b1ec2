"""Left alone, an engine goes the reference's way until a rounding flips a level, and then another one as likely."""

import math
from typing import Any

import pytest
import torch
from support.models import HOP, MODELS, a_mel, a_model, generated
from torch import Tensor

from vocoder.engines import ReferenceEngine, pick_engine
from vocoder.kernels import matmul
from vocoder.model import VocoderModel, extend_edges

UTTERANCES, FRAMES = 64, 40
NAMES = ["kernel 3", "8 bits", "gaussian", "mixture of gaussians", "categorical", "linear prediction"]
needs_bf16 = pytest.mark.skipif(not matmul.HAS_BF16, reason="this processor does not multiply bfloat16")


@pytest.mark.parametrize("options", [MODELS[name] for name in NAMES], ids=NAMES)
@pytest.mark.parametrize(("precision", "median"), [("float32", 200), pytest.param("bfloat16", 0, marks=needs_bf16)])
def test_waves_agree_for_long_and_are_as_likely_after_that(options: Any, precision: str, median: int) -> None:
    model, mel = a_model(**options), a_mel(UTTERANCES, FRAMES)
    reference = generated(ReferenceEngine(model), mel)
    waves = generated(pick_engine(model, "cpu", precision), mel)
    assert agreement(waves, reference) >= median
    theirs, ours = nats(model, reference, mel), nats(model, waves, mel)
    error = math.sqrt((theirs.var() + ours.var()) / UTTERANCES)
    assert abs(float(ours.mean() - theirs.mean())) < 4 * error


def agreement(waves: Tensor, reference: Tensor) -> float:
    """Samples until two waves [B, T] part; the median."""
    apart = waves != reference
    return float(torch.where(apart.any(1), apart.int().argmax(1), waves.shape[1]).double().median())


@torch.inference_mode()
def nats(model: VocoderModel, waves: Tensor, mel: Tensor) -> Tensor:
    """For each sample of each wave [B, T], by the model's forward pass -> [B]."""
    heard = torch.nn.functional.pad(waves, (model.history_frames * HOP, 0))
    around = extend_edges(mel, model.history_frames + model.context_frames, model.context_frames)
    return -model.log_prob(heard, around).double().mean(1)
