"""What every engine offers: lanes, each generating one utterance, all advancing a frame at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vocoder.model import VocoderModel


@dataclass(frozen=True)
class Frame:
    """One frame of H samples of one utterance, before they are drawn: float32 arrays."""

    knots: np.ndarray  # of the conditioning channels [J, C], interpolated as the model's `conditioning` says
    filters: np.ndarray | None  # of the linear prediction [U, K + 1]
    noise: np.ndarray  # [choices + 1, H], the distribution's `standard_noise`
    forced: np.ndarray | None = None  # samples [H] that are given, not drawn


class Lanes(Protocol):
    """Utterances in progress. Lane i continues its utterance, whatever the other lanes do.

    A new utterance begins with as many forced frames of zeros as cover the receptive field; so the lane's
    previous contents have no effect.
    """

    def advance(self, frames: Sequence[Frame]) -> np.ndarray:
        """The next frame of the first n lanes: samples on the grid [n, H]."""
        ...

    def predict(self, frames: Sequence[Frame]) -> np.ndarray:
        """As `advance`, but the distribution's parameters at each sample, drawn or forced: [n, P, H]."""
        ...

    def move(self, source: int, target: int) -> None:
        """Copy the state of lane `source` to lane `target`."""
        ...


class Engine(Protocol):
    """A model prepared for generation."""

    model: VocoderModel
    lanes_per_thread: int  # the number that is fastest
    threads: int  # each may advance lanes of its own at the same time
    bypasses_torch_threads: bool  # whether it computes on these threads alone, without torch's own

    def lanes(self, capacity: int, temperature: float = 1.0) -> Lanes:
        """State for `capacity` utterances at once."""
        ...

    def describe(self) -> str:
        """The engine and how it computes, for people."""
        ...

    @property
    def arithmetic(self) -> str:
        """A name for all that can change the last bits of its waves."""
        ...
