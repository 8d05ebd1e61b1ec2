"""Uniform noise that is a pure function of (seed, utterance, sample).

So a waveform does not depend on the batch, engine or process that generated it, nor on where it was resumed.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_BITS = 23  # the numbers (k + 1/2) 2^-23 are exact in float32, and none of them is 0 or 1


class Noise:
    """U uniforms in (0, 1) for every sample of B utterances, by the counter-based Philox4x64 (Salmon et al. 2011)."""

    def __init__(self, seed: int, utterances: Sequence[str], uniforms: int) -> None:
        self.uniforms = uniforms
        self._counters_per_sample = -(-uniforms // 4)  # a counter value gives four 64-bit words
        self._keys = [_key(seed, utterance) for utterance in utterances]

    def block(self, start: int, count: int) -> Tensor:
        """The noise of samples start … start + count: [B, U, count]."""
        return torch.from_numpy(np.stack([self._uniforms(key, start, count) for key in self._keys]))

    def _uniforms(self, key: int, start: int, count: int) -> np.ndarray:
        generator = np.random.Philox(key=key, counter=start * self._counters_per_sample)
        words = generator.random_raw(count * self._counters_per_sample * 4).reshape(count, -1)[:, : self.uniforms]
        return (((words >> (64 - _BITS)) + 0.5) * 2.0**-_BITS).astype(np.float32).T


def _key(seed: int, utterance: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{utterance}".encode()).digest()
    return int.from_bytes(digest[:16], "little")
