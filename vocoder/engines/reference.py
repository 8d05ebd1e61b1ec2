"""The reference engine: plain torch, any device, any distribution; what faster engines are held against.

B utterances, R residual and C conditioning channels, P parameters, U uniforms. Each layer keeps the
samples its taps reach back to in a ring: nothing is shifted, a write index goes round.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vocoder.engines.noise import Noise
from vocoder.model import VocoderModel


@dataclass
class State:
    """Where generation stands: after `time` samples, with `rings[layer]` [B, history, R]."""

    rings: list[Tensor]
    previous: Tensor  # the last sample [B]
    time: int = 0


class ReferenceEngine:
    """Generates waveforms of a batch of utterances in step.

    The matrix products of a batch may round differently than those of one utterance, and a rounding
    that flips one sample's level lets two waveforms part: equal batches give equal bits.
    """

    def __init__(self, model: VocoderModel) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def generate(
        self, history: Tensor, conditioning: Iterable[Tensor], noise: Noise, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """Yield grid samples [B, n] for every block of conditioning [B, n, C].

        Args:
            history: conditioning [B, receptive_field - 1, C] of the silence before the utterances.
            conditioning: blocks of any length, in order.
            noise: of the same B utterances.
            temperature: multiplies scales and divides logits; 1 samples what was learned.
        """
        state = self.start(history)
        for block in conditioning:
            uniforms = noise.block(state.time, block.shape[1]).to(block.device)
            samples = []
            for t in range(block.shape[1]):
                params = self.step(state, block[:, t])
                drawn = self.model.distribution.sample(params[:, :, None], uniforms[:, :, t : t + 1], temperature)
                state.previous = drawn[:, 0]
                samples.append(state.previous)
            yield torch.stack(samples, 1)

    @torch.inference_mode()
    def start(self, history: Tensor) -> State:
        """The state after the silence before an utterance, computed for all its samples at once."""
        wavenet = self.model.wavenet
        silence = history.new_zeros(*history.shape[:2], wavenet.input.in_features)
        h, rings = wavenet.embed(silence), []
        for layer in wavenet.residual_layers:
            rings.append(h[:, h.shape[1] - layer.history :].clone())
            h, _ = layer(h, history[:, history.shape[1] - (h.shape[1] - layer.history) :])
        return State(rings, history.new_zeros(len(history)))

    @torch.inference_mode()
    def step(self, state: State, conditioning: Tensor) -> Tensor:
        """Parameters [B, P] of the next sample, given its conditioning [B, C]; advances the rings."""
        wavenet = self.model.wavenet
        h = wavenet.embed(state.previous[:, None])
        skips = h.new_zeros(())
        for layer, ring in zip(wavenet.residual_layers, state.rings, strict=True):
            slots = [(state.time + tap) % layer.history for tap in range(0, layer.history, layer.dilation)]
            taps = [*(ring[:, slot] for slot in slots), h]
            next_h, skip = layer.combine(taps, conditioning)
            if slots:
                ring[:, slots[0]] = h  # the oldest tap, read above for the last time
            h, skips = next_h, skips + skip
        state.time += 1
        return wavenet.head(skips)
