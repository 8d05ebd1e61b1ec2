"""What every engine offers: lanes, each of which generates one utterance, all of them a frame at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vocoder.model import VocoderModel


@dataclass(frozen=True)
class Frame:
    """What one lane has to know of a frame of H samples: float32 arrays."""

    knots: np.ndarray  # conditioning channels [J, C], between which they move as the model's `motion` says
    filters: np.ndarray | None  # of the linear prediction [U, K + 1]
    noise: np.ndarray  # [choices + 1, H], the distribution's `standard_noise`
    given: np.ndarray | None = None  # samples [H] that are not drawn, but heard as they are


class Lanes(Protocol):
    """Utterances in progress. Lane i goes on with what it heard before, whatever the others do.

    A lane needs no other beginning than the silence before its utterance: frames that are given as zeros, as many as
    hold the receptive field. What was in the lane before is then forgotten.
    """

    def advance(self, frames: Sequence[Frame]) -> np.ndarray:
        """The next frame of the first so many lanes: samples on the grid [n, H]."""
        ...

    def predict(self, frames: Sequence[Frame]) -> np.ndarray:
        """As `advance`, but the parameters that each sample was drawn from, or was given beside: [n, P, H]."""
        ...

    def move(self, source: int, target: int) -> None:
        """Let lane `target` go on where lane `source` is."""
        ...


class Engine(Protocol):
    """A model made ready to generate."""

    model: VocoderModel
    width: int  # lanes of one thread at which it is at its best
    threads: int  # that may each advance lanes of their own at the same time
    compiled: bool  # whether those threads are all it computes with, and torch's own would be in their way

    def lanes(self, capacity: int, temperature: float = 1.0) -> Lanes:
        """Room for so many utterances at once."""
        ...

    def describe(self) -> str:
        """Which engine it is and how it computes, for people."""
        ...

    @property
    def arithmetic(self) -> str:
        """What decides over the last bits of its waves."""
        ...
