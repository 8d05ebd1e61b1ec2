"""Pre-emphasis: what some models generate in place of the waveform, with its high frequencies raised.

    y[t] = gain (x[t] - coefficient x[t - 1])

A voice's spectrum falls towards high frequencies. Evened out, the noise of generation is even too, and undoing it after
synthesis lowers that noise where speech is weakest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid, waveform_to_int16


@dataclass(frozen=True)
class PreEmphasis:
    """The relation of what a model generates, y, to the waveform, x; by default they are the same.

    Raises:
        UserError: undoing it would be unstable, or divide by 0.
    """

    coefficient: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.coefficient < 1:
            raise UserError(f"pre_emphasis.coefficient={self.coefficient}: must be at least 0 and below 1")
        if not 0 < self.gain < float("inf"):
            raise UserError(f"pre_emphasis.gain={self.gain}: must be above 0")

    def __bool__(self) -> bool:
        return self != PreEmphasis()

    def apply(self, wave: np.ndarray) -> np.ndarray:
        """y [T] of a whole waveform x [T], before which there is silence; clipped to [-1, 1]."""
        if not self:
            return wave
        emphasised = self.gain * lfilter([1.0, -self.coefficient], [1.0], wave.astype(np.float64))
        return np.clip(emphasised, -1, 1).astype(wave.dtype)

    def undo(self, samples: np.ndarray) -> np.ndarray:
        """The int16 waveform [T] of a whole utterance's int16 samples of y [T]."""
        return self.undoer()(samples)

    def undoer(self) -> Callable[[np.ndarray], np.ndarray]:
        """`undo` for the pieces of one utterance, in turn; together they give the same to the bit."""
        if not self:
            return lambda samples: samples
        state = np.zeros(1)

        def undo(samples: np.ndarray) -> np.ndarray:
            # What the model drew, exactly. The grid has no zero: silence as one of the two levels beside it comes out
            # with an offset of half a level / (gain (1 - coefficient)), 6 levels in r9y9's recipe (-75 dBFS).
            y = int16_to_grid(samples).astype(np.float64)
            x, state[:] = lfilter([1.0], [1.0, -self.coefficient], y, zi=state)
            return waveform_to_int16(x / self.gain)

        return undo
