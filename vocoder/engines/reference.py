"""The reference engine: plain torch, any device, any distribution; what faster engines are held against.

n lanes, H samples a frame, R residual and C conditioning channels, P parameters, K order of the linear prediction.
Each layer keeps the samples its taps reach back to in a ring: nothing is shifted, a write index goes round. Everything
a step needs lies in tensors, the index too, so that a CUDA graph can hold a step and be replayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder.engines.base import Frame
from vocoder.model import VocoderModel
from vocoder.model.linear_prediction import Predictor
from vocoder.model.vocoder_model import network_inputs


@dataclass
class State:
    """Where n lanes stand."""

    rings: list[Tensor]  # of each layer [n, history, R]
    past: Tensor  # the last samples heard [n, K], or [n, 1] without linear prediction
    residual: Tensor  # of the last of them [n, 1]
    time: Tensor  # [1], samples generated: where in the rings the next goes


@dataclass
class Known:
    """What is known of a frame before it is drawn, and room for what is drawn."""

    channels: Tensor  # [n, H, C]
    noise: Tensor  # [n, choices + 1, H]
    given: Tensor  # [n, 1], which lanes hear what `samples` holds
    samples: Tensor  # [n, H]
    params: Tensor  # [n, P, H]
    sample: Tensor  # [1], which of the H is next
    weights: Tensor | None = None  # of the linear prediction [n, H, K]
    log_gain: Tensor | None = None  # [n, H]


class ReferenceEngine:
    """Generates all lanes in step.

    The matrix products of several lanes may round differently than those of one, and a rounding that flips one sample's
    level lets two waveforms part: equal companies give equal bits.
    """

    width = 64
    threads = 1
    compiled = False

    def __init__(self, model: VocoderModel) -> None:
        self.model = model.eval()

    def lanes(self, capacity: int, temperature: float = 1.0) -> "ReferenceLanes":
        return ReferenceLanes(self.model, capacity, temperature)

    def describe(self) -> str:
        return f"reference, {self.model.device}"

    @property
    def arithmetic(self) -> str:
        return f"torch {self.model.device.type}"


class ReferenceLanes:
    """Utterances in progress, on the model's device."""

    def __init__(self, model: VocoderModel, capacity: int, temperature: float = 1.0) -> None:
        self.model, self.capacity, self.temperature = model, capacity, temperature
        self.state = start(model, capacity)

    @torch.inference_mode()
    def advance(self, frames: Sequence[Frame]) -> np.ndarray:
        return self._generate(frames).samples[: len(frames)].cpu().numpy().copy()

    @torch.inference_mode()
    def predict(self, frames: Sequence[Frame]) -> np.ndarray:
        return self._generate(frames).params[: len(frames)].cpu().numpy().copy()

    def _generate(self, frames: Sequence[Frame]) -> Known:
        known = self.known(frames)
        for _ in range(known.samples.shape[1]):
            self.step(known)
        return known

    def move(self, source: int, target: int) -> None:
        for tensor in (*self.state.rings, self.state.past, self.state.residual):
            tensor[target] = tensor[source]

    def known(self, frames: Sequence[Frame]) -> Known:
        """A frame for each lane, spread over samples; lanes without one repeat the first, and nobody listens."""
        frames = [*frames, *[frames[0]] * (self.capacity - len(frames))]
        device, motion = self.model.device, self.model.conditioning.motion
        knots = stacked([frame.knots for frame in frames], device)
        left, weights = motion.left.to(device), motion.weights.to(device)
        channels = weights[:, :1] * knots[:, left]
        if weights[:, 1].any():
            channels = channels + weights[:, 1:] * knots[:, left + 1]
        hop = len(left)
        silence = np.zeros(hop, np.float32)
        samples = stacked([silence if frame.given is None else frame.given for frame in frames], device)
        known = Known(
            channels,
            stacked([frame.noise for frame in frames], device),
            torch.tensor([[frame.given is not None] for frame in frames], device=device),
            samples,
            channels.new_zeros(len(frames), self.model.distribution.channels, hop),
            torch.zeros(1, dtype=torch.long, device=device),
        )
        if frames[0].filters is not None:
            filters = stacked([frame.filters for frame in frames if frame.filters is not None], device)
            moving = filters[:, torch.arange(hop, device=device) * filters.shape[1] // hop]
            known.weights, known.log_gain = moving[..., :-1], moving[..., -1]
        return known

    def step(self, known: Known) -> None:
        """Draw the next sample, or hear the one that is given."""
        state, t = self.state, known.sample
        channels = known.channels.index_select(1, t).squeeze(1)
        predictor = prediction = None
        if known.weights is not None and known.log_gain is not None:
            predictor = Predictor(known.weights.index_select(1, t).squeeze(1), known.log_gain.index_select(1, t))
            prediction = predictor.predict(state.past).unsqueeze(1)
        inputs = network_inputs(state.past[:, -1:], prediction, state.residual if predictor else None)
        params = self._network(inputs.squeeze(1), channels)
        if predictor is not None and prediction is not None:
            params = self.model.relative_to(prediction, predictor, params)
        known.params.index_copy_(2, t, params)
        drawn = self.model.distribution.draw(params, known.noise.index_select(2, t), self.temperature)
        heard = torch.where(known.given, known.samples.index_select(1, t), drawn)
        known.samples.index_copy_(1, t, heard)
        if predictor is not None and prediction is not None:
            heard = predictor.continued(heard, prediction)
            state.residual.copy_(predictor.residual(heard, prediction))
        state.past.copy_(torch.cat((state.past[:, 1:], heard), 1))
        state.time += 1
        known.sample += 1

    def _network(self, inputs: Tensor, channels: Tensor) -> Tensor:
        """inputs [n, I], conditioning channels [n, C] -> parameters [n, P, 1]; writes to the rings."""
        wavenet, state = self.model.wavenet, self.state
        h = wavenet.embed(inputs)
        skips = h.new_zeros(())
        for layer, ring in zip(wavenet.residual_layers, state.rings, strict=True):
            taps = [h]
            if layer.history:
                slots = torch.cat([state.time + tap for tap in range(0, layer.history, layer.dilation)]) % layer.history
                taps = [*ring.index_select(1, slots).unbind(1), h]
                ring.index_copy_(1, slots[:1], h[:, None])  # over the oldest tap, read above for the last time
            h, skip = layer.combine(h, taps, channels)
            skips = skips + skip
        return wavenet.head(skips)[:, :, None]


def start(model: VocoderModel, lanes: int) -> State:
    """Lanes that heard nothing yet."""
    like, layers = model.wavenet.output.weight, model.wavenet.residual_layers
    channels = model.wavenet.input.out_features
    return State(
        [like.new_zeros(lanes, layer.history, channels) for layer in layers],
        like.new_zeros(lanes, model.linear_prediction.order if model.linear_prediction else 1),
        like.new_zeros(lanes, 1),
        torch.zeros(1, dtype=torch.long, device=like.device),
    )


def stacked(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)
