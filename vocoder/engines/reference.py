"""The reference engine: plain torch, any device, any distribution; what faster engines are tested against.

n lanes, H samples a frame, N steps a frame, I inputs of a sample, R residual and C conditioning channels, P parameters,
K order of the linear prediction.

Each layer keeps the steps its taps reach back to in a ring buffer: nothing is shifted, a write index goes round. All
that a step of the network (of one or several samples) needs lies in tensors, the index too, so that a CUDA graph can
capture a step and replay it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder.engines.base import Frame
from vocoder.model import VocoderModel
from vocoder.model.interpolation import interpolate
from vocoder.model.linear_prediction import Prediction, Predictor


@dataclass
class ReferenceState:
    """State of n lanes."""

    rings: list[Tensor]  # of each layer [n, history, R]
    past: Tensor  # the last samples [n, K], or [n, 1] without linear prediction
    excitation: Tensor  # of the last sample [n, 1]
    inputs: Tensor  # the network's newest [n, samples of a step or of the head's context, I]
    time: Tensor  # [1], steps generated so far: where the next goes in the rings


@dataclass
class FrameBuffers:
    """What a frame of n lanes is generated from, and where its samples go."""

    channels: Tensor  # [n, N, C]
    noise: Tensor  # [n, choices + 1, H]
    forced: Tensor  # [n, 1], lanes whose samples are given and not drawn
    samples: Tensor  # [n, H], given or drawn
    params: Tensor  # [n, P, H]
    position: Tensor  # [1], which of the H samples is next
    weights: Tensor | None = None  # of the linear prediction [n, H, K]
    log_gain: Tensor | None = None  # [n, H]

    def predictor(self) -> Predictor | None:
        """The linear prediction's filter at the next sample."""
        if self.weights is None or self.log_gain is None:
            return None
        return Predictor(*(x.index_select(1, self.position) for x in (self.weights, self.log_gain)))


class ReferenceEngine:
    """Generates all lanes in step.

    The matrix products of several lanes may round differently from those of one, and once a rounding changes a sample's
    level two waveforms diverge: only an equal number of lanes gives equal bits.
    """

    lanes_per_thread = 64
    threads = 1
    bypasses_torch_threads = False

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
        self.state = initial_state(model, capacity)

    @torch.inference_mode()
    def advance(self, frames: Sequence[Frame]) -> np.ndarray:
        return self._generate(frames).samples[: len(frames)].cpu().numpy().copy()

    @torch.inference_mode()
    def predict(self, frames: Sequence[Frame]) -> np.ndarray:
        return self._generate(frames).params[: len(frames)].cpu().numpy().copy()

    def _generate(self, frames: Sequence[Frame]) -> FrameBuffers:
        buffers = self.buffers(frames)
        for _ in range(buffers.channels.shape[1]):
            self.step(buffers)
        return buffers

    def move(self, source: int, target: int) -> None:
        for tensor in (*self.state.rings, self.state.past, self.state.excitation, self.state.inputs):
            tensor[target] = tensor[source]

    def buffers(self, frames: Sequence[Frame]) -> FrameBuffers:
        """A frame for each lane, interpolated; lanes without one repeat the first, and their samples are ignored."""
        frames = [*frames, *[frames[0]] * (self.capacity - len(frames))]
        device, hop = self.model.device, self.model.spec.hop_length
        knots = _stack([frame.knots for frame in frames], device)[:, None]  # [n, 1, J, C]
        channels = interpolate(knots, self.model.conditioning.interpolation)
        silence = np.zeros(hop, np.float32)
        buffers = FrameBuffers(
            channels=channels,
            noise=_stack([frame.noise for frame in frames], device),
            forced=torch.tensor([[frame.forced is not None] for frame in frames], device=device),
            samples=_stack([silence if frame.forced is None else frame.forced for frame in frames], device),
            params=channels.new_zeros(len(frames), self.model.distribution.channels, hop),
            position=torch.zeros(1, dtype=torch.long, device=device),
        )
        if self.model.linear_prediction is not None:
            filters = _stack([frame.filters for frame in frames if frame.filters is not None], device)[:, None]
            predictor = self.model.linear_prediction.predictor(filters)
            buffers.weights, buffers.log_gain = predictor.weights, predictor.log_gain
        return buffers

    def step(self, buffers: FrameBuffers) -> None:
        """Draw the next step's samples of every lane, or take those that are given."""
        hidden = None
        for i in range(self.model.wavenet.samples_per_step):
            predictor = buffers.predictor()
            prediction = predictor.predict(self.state.past[:, None]) if predictor else None
            self._append_inputs(prediction)
            hidden = self._layers(buffers) if hidden is None else hidden
            self._draw(buffers, hidden[:, i : i + 1], prediction)
        self.state.time += 1

    def _append_inputs(self, prediction: Prediction | None) -> None:
        """Append the network's inputs for the next sample to the newest ones."""
        state = self.state
        predicted = (prediction.mean, state.excitation) if prediction else ()
        newest = self.model.network_inputs(state.past[:, -1:], *predicted)  # [n, 1, I]
        state.inputs.copy_(torch.cat((state.inputs[:, 1:], newest), 1))

    def _layers(self, buffers: FrameBuffers) -> Tensor:
        """What the head needs of the layers [n, K, S], at the first sample of a step; writes to the rings."""
        wavenet, state = self.model.wavenet, self.state
        step = buffers.position // wavenet.samples_per_step
        channels = buffers.channels.index_select(1, step).squeeze(1)  # [n, C]
        h = wavenet.embed(state.inputs[:, -wavenet.samples_per_step :].flatten(1))
        skips = h.new_zeros(())
        for layer, ring in zip(wavenet.residual_layers, state.rings, strict=True):
            taps = [h]
            if layer.history:
                offsets = range(0, layer.history, layer.dilation)
                slots = torch.cat([state.time + offset for offset in offsets]) % layer.history
                taps = [*ring.index_select(1, slots).unbind(1), h]
                ring.index_copy_(1, slots[:1], h[:, None])  # over the oldest tap, read above for the last time
            h, skip = layer.step(h, taps, channels)
            skips = skips + skip
        return wavenet.hidden_of(skips[:, None])

    def _draw(self, buffers: FrameBuffers, hidden: Tensor, prediction: Prediction | None) -> None:
        """Draw the next sample, or take the one that is given; update the state."""
        wavenet, state, t = self.model.wavenet, self.state, buffers.position
        recent = state.inputs[:, -wavenet.head_context :].flatten(1)[:, None] if wavenet.head_context else None
        params = wavenet.head(hidden, recent).transpose(1, 2)  # [n, P, 1]
        if prediction is not None:
            params = self.model.shift_and_scale(params, prediction)
        buffers.params.index_copy_(2, t, params)
        drawn = self.model.distribution.sample_from_noise(params, buffers.noise.index_select(2, t), self.temperature)
        sample = torch.where(buffers.forced, buffers.samples.index_select(1, t), drawn)
        buffers.samples.index_copy_(1, t, sample)
        if prediction is not None:
            sample = prediction.clip_compensated(sample)
            state.excitation.copy_(prediction.excitation(sample))
        state.past.copy_(torch.cat((state.past[:, 1:], sample), 1))
        buffers.position += 1


def initial_state(model: VocoderModel, lanes: int) -> ReferenceState:
    """The state of lanes that have generated nothing yet: zeros."""
    like, wavenet = model.wavenet.output.weight, model.wavenet
    order = model.linear_prediction.order if model.linear_prediction else 1
    return ReferenceState(
        rings=[like.new_zeros(lanes, layer.history, wavenet.residual_channels) for layer in wavenet.residual_layers],
        past=like.new_zeros(lanes, order),
        excitation=like.new_zeros(lanes, 1),
        inputs=like.new_zeros(lanes, max(wavenet.samples_per_step, wavenet.head_context), wavenet.input_channels),
        time=torch.zeros(1, dtype=torch.long, device=like.device),
    )


def _stack(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)
