"""The reference engine: plain torch, any device, any distribution; what faster engines are held against.

B utterances, R residual and C conditioning channels, P parameters, U uniforms. Each layer keeps the
samples its taps reach back to in a ring: nothing is shifted, a write index goes round.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vocoder.engines.noise import Noise
from vocoder.model import Conditioning, VocoderModel
from vocoder.model.linear_prediction import Predictor
from vocoder.model.vocoder_model import network_inputs


@dataclass
class State:
    """Where generation stands: after `time` samples, with `rings[layer]` [B, history, R]."""

    rings: list[Tensor]
    past: Tensor  # the last samples [B, K], or [B, 1] without linear prediction
    residual: Tensor  # of the last sample [B, 1]
    prediction: Tensor | None = None  # of the next sample [B, 1], by
    predictor: Predictor | None = None  # that of the next sample
    time: int = 0

    def hear(self, sample: Tensor) -> None:
        """Take note of the sample [B, 1] that came out."""
        if self.predictor is not None and self.prediction is not None:
            sample = self.predictor.continued(sample, self.prediction)
            self.residual = self.predictor.residual(sample, self.prediction)
        self.past = torch.cat((self.past[:, 1:], sample), 1)


class ReferenceEngine:
    """Generates waveforms of a batch of utterances in step.

    The matrix products of a batch may round differently than those of one utterance, and a rounding
    that flips one sample's level lets two waveforms part: equal batches give equal bits.
    """

    def __init__(self, model: VocoderModel) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def generate(
        self, history: Tensor, conditioning: Iterable[Conditioning], noise: Noise, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """Yield grid samples [B, n] for every block of conditioning of n samples.

        Args:
            history: conditioning [B, the network's receptive field - 1, C] of the silence before the utterances.
            conditioning: blocks of any length, in order.
            noise: of the same B utterances.
            temperature: multiplies scales and divides logits; 1 samples what was learned.
        """
        state = self.start(history)
        for block in conditioning:
            uniforms = noise.block(state.time, block.channels.shape[1]).to(block.channels.device)
            samples = []
            for conditioning_of_sample, u in zip(block.unbind(), uniforms.unsqueeze(-1).unbind(2), strict=True):
                params = self.step(state, conditioning_of_sample)
                drawn = self.model.distribution.sample(params, u, temperature)
                state.hear(drawn)
                samples.append(drawn)
            yield torch.cat(samples, 1)

    @torch.inference_mode()
    def start(self, history: Tensor) -> State:
        """The state after the silence before an utterance, computed for all its samples at once."""
        wavenet = self.model.wavenet
        silence = history.new_zeros(*history.shape[:2], wavenet.input.in_features)
        h, rings = wavenet.embed(silence), []
        for layer in wavenet.residual_layers:
            rings.append(h[:, h.shape[1] - layer.history :].clone())
            h, _ = layer(h, history[:, history.shape[1] - (h.shape[1] - layer.history) :])
        order = self.model.linear_prediction.order if self.model.linear_prediction else 1
        zero = history.new_zeros(len(history), 1)
        return State(rings, zero.expand(-1, order), zero)

    @torch.inference_mode()
    def step(self, state: State, conditioning: Conditioning) -> Tensor:
        """Parameters [B, P, 1] of the next sample, given its conditioning; advances the state but for the sample."""
        state.predictor = predictor = conditioning.predictor
        previous = state.past[:, -1:]
        if predictor is None:
            return self._network(state, network_inputs(previous).squeeze(1), conditioning.channels)
        state.prediction = prediction = predictor.predict(state.past).unsqueeze(1)
        inputs = network_inputs(previous, prediction, state.residual).squeeze(1)
        return self.model.relative_to(prediction, predictor, self._network(state, inputs, conditioning.channels))

    def _network(self, state: State, inputs: Tensor, channels: Tensor) -> Tensor:
        """inputs [B, I], conditioning channels [B, C] -> parameters [B, P, 1]; advances the rings."""
        wavenet = self.model.wavenet
        h = wavenet.embed(inputs)
        skips = h.new_zeros(())
        for layer, ring in zip(wavenet.residual_layers, state.rings, strict=True):
            slots = [(state.time + tap) % layer.history for tap in range(0, layer.history, layer.dilation)]
            taps = [*(ring[:, slot] for slot in slots), h]
            next_h, skip = layer.combine(taps, channels)
            if slots:
                ring[:, slots[0]] = h  # the oldest tap, read above for the last time
            h, skips = next_h, skips + skip
        state.time += 1
        return wavenet.head(skips)[:, :, None]
