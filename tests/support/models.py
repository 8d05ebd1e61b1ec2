"""Small models of every kind, and their predictions by the forward pass and by an engine."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from support.small_model import HOP, N_MELS, SIZES, SPEC
from torch import Tensor

from vocoder.distributions import Categorical, Distribution, Gaussian, MixtureOfGaussians, MixtureOfLogistics
from vocoder.engines import Engine, Frame, Noise
from vocoder.features.audio import int16_to_grid
from vocoder.model import (
    ConditioningConfig,
    LinearPredictionConfig,
    ModelConfig,
    VocoderConfig,
    VocoderModel,
    build_model,
    extend_edges,
)
from vocoder.model.image_upsample import ImageUpsampleConfig
from vocoder.synthesis import Task, frames_of, generate

FRAMES = 8
MEL = ConditioningConfig("mel", channels=5, context_frames=3)
MODELS: dict[str, dict[str, Any]] = {
    "kernel 2": {},
    "kernel 3": {"kernel_size": 3},
    "kernel 1": {"kernel_size": 1},
    "one stack": {"stacks": 1, "kernel_size": 3},
    "three stacks": {"stacks": 3},
    "one layer": {"layers": 1, "stacks": 1},
    "staged upsampling": {"conditioning": replace(MEL, upsample_scales=(3, 4))},
    "no conditioning": {"conditioning": ConditioningConfig("none")},
    "speakers": {"speakers": ("ann", "bob")},
    "speakers only": {"conditioning": ConditioningConfig("none"), "speakers": ("ann", "bob"), "kernel_size": 3},
    "one component": {"distribution": MixtureOfLogistics(1)},
    "8 bits": {"distribution": MixtureOfLogistics(2, levels=256)},
    "gaussian": {"distribution": Gaussian()},
    "mixture of gaussians": {"distribution": MixtureOfGaussians(3)},
    "categorical": {"distribution": Categorical(16)},
    "categorical, one-hot": {"distribution": Categorical(16), "one_hot": True},
    "one-hot, two samples per step": {
        "distribution": Categorical(16),
        "one_hot": True,
        "samples_per_step": 2,
        "head_context": 3,
    },
    "upsampling of a picture": {
        "conditioning": replace(MEL, image_upsample=ImageUpsampleConfig((3, 4), "repeat", 3, "leaky_relu", 0.2)),
    },
    "transposed upsampling of a picture": {
        "conditioning": replace(MEL, image_upsample=ImageUpsampleConfig((2, 6), "transposed", 3)),
    },
    "gaussian, linear prediction": {
        "distribution": Gaussian(),
        "prediction": LinearPredictionConfig("mel", order=7),
    },
    "two samples per step": {"samples_per_step": 2, "head_context": 1},
    "four samples per step, linear prediction": {
        "samples_per_step": 4,
        "head_context": 5,
        "kernel_size": 3,
        "prediction": LinearPredictionConfig("mel", order=7, updates=5),
    },
    "six samples per step, gaussian, speakers": {
        "samples_per_step": 6,
        "head_context": 3,
        "distribution": Gaussian(),
        "speakers": ("ann", "bob"),
    },
    "head context": {"head_context": 4, "prediction": LinearPredictionConfig("mel", order=3)},
    "three samples per step, staged upsampling": {
        "samples_per_step": 3,
        "head_context": 2,
        "conditioning": replace(MEL, upsample_scales=(2, 2)),
    },
    "wider than a tile": {"residual_channels": 70, "gate_channels": 140, "skip_channels": 66},
    "linear prediction": {"prediction": LinearPredictionConfig("mel", order=7, updates=5)},
    "linear prediction, speakers": {
        "prediction": LinearPredictionConfig("mel", order=1, updates=1),
        "speakers": ("ann", "bob"),
        "kernel_size": 3,
    },
}


def random_model(
    conditioning: ConditioningConfig = MEL,
    speakers: tuple[str, ...] = (),
    distribution: Distribution = MixtureOfLogistics(3),  # noqa: B008
    prediction: LinearPredictionConfig = LinearPredictionConfig(),  # noqa: B008
    one_hot: bool = False,
    **sizes: int,
) -> VocoderModel:
    """A model of about ten channels; all weights and biases are random, so that every path matters."""
    torch.manual_seed(1)
    parts = ModelConfig(replace(SIZES, **sizes), conditioning, 4 if speakers else 0, prediction, one_hot)
    model = build_model(VocoderConfig(SPEC, parts, distribution, speakers))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if model.wavenet.mix is not None:  # one layer more: without this, waves clip
        torch.nn.init.normal_(model.wavenet.output.weight, std=0.1)
    return model.eval()


def random_mel(batch: int = 1, frames: int = FRAMES) -> Tensor:
    """Log-mels [B, N_MELS, F] of about the power of speech, for the linear prediction."""
    torch.manual_seed(2)
    return torch.randn(batch, N_MELS, frames) - 5


def speakers_of(model: VocoderModel, batch: int) -> Tensor | None:
    """Speaker indices [B] in turn, or None for a model without speakers."""
    return torch.arange(batch) % 2 if model.speakers else None


@torch.inference_mode()
def forward_params(model: VocoderModel, waves: Tensor, mel: Tensor, speaker: Tensor | None) -> Tensor:
    """Parameters [B, P, F H] of whole utterances by `forward`, preceded by zeros and the repeated first frame."""
    before = model.history_frames + model.context_frames
    waves = torch.cat([waves.new_zeros(len(waves), model.history_frames * HOP), waves], 1)
    return model(waves, extend_edges(mel, before, model.context_frames), speaker)


def engine_params(engine: Engine, waves: Tensor, mel: Tensor, speaker: Tensor | None) -> Tensor:
    """The same by an engine, whose samples are forced to those of the waves."""
    lanes = engine.lanes(len(mel))
    frames_of_lanes = [forced_frames(engine.model, waves[b], mel[b], speaker, b) for b in range(len(mel))]
    params = [torch.from_numpy(lanes.predict(frames)) for frames in zip(*frames_of_lanes, strict=True)]
    return torch.cat(params[engine.model.history_frames :], 2)


def forced_frames(model: VocoderModel, wave: Tensor, mel: Tensor, speaker: Tensor | None, b: int) -> list[Frame]:
    """The frames of one utterance, with all samples forced."""
    noise = Noise(0, [str(b)], model.distribution.uniforms)
    frames = list(frames_of(model, [mel.numpy()], noise, None if speaker is None else speaker[b : b + 1]))
    pieces = wave.numpy().reshape(-1, HOP)
    silence = frames[: model.history_frames]
    return silence + [replace(frame, forced=piece) for frame, piece in zip(frames[len(silence) :], pieces, strict=True)]


def generate_waves(
    engine: Engine, mel: Tensor, seed: int = 0, ids: Sequence[str] | None = None, temperature: float = 1.0
) -> Tensor:
    """Waves on the grid [B, F H]; the utterances' ids are 0, 1, … unless given."""
    model, speaker = engine.model, speakers_of(engine.model, len(mel))

    def frames(b: int, id: str) -> Iterator[Frame]:
        noise = Noise(seed, [id], model.distribution.uniforms)
        return frames_of(model, [mel[b].numpy()], noise, None if speaker is None else speaker[b : b + 1])

    names = ids or [str(b) for b in range(len(mel))]
    waves = dict(generate(engine, [Task(b, partial(frames, b, id)) for b, id in enumerate(names)], temperature))
    return torch.from_numpy(int16_to_grid(np.stack([waves[b] for b in range(len(mel))])))
