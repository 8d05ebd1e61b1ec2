"""One gain for a corpus, from the peaks of its recordings, and the recordings that it does not suit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Files of floats can hold any scale, such as that of 16-bit integers. One that peaks this far above full scale, and so
# many times above the corpus's median, is at another scale than the others.
OTHER_SCALE = 4.0  # 12 dB above full scale
OTHER_THAN_MEDIAN = 10.0  # 20 dB
CLIPPED_BEYOND_USE = 10.0  # 20 dB: a wave so far above full scale is nearly a square wave


@dataclass(frozen=True)
class CorpusLevel:
    """The gain of a corpus, and what it does to a recording."""

    gain: float
    highest: float  # the loudest peak that is not at another scale
    silence_peak: float  # quieter recordings are silence

    def problem(self, peak: float, own_gain: float | None = None) -> str | None:
        """Why a recording of this peak cannot be used; None if it can.

        Args:
            own_gain: the recording's, where the corpus has no gain in common.
        """
        gain = self.gain if own_gain is None else own_gain
        whose = "the corpus's gain" if own_gain is None else "its gain"
        if peak < self.silence_peak:
            return f"silence (peak {peak:.5f} is below {self.silence_peak:g})"
        if peak > self.highest:
            return (
                f"at another scale than the other recordings (peak {peak:.5g}, full scale is 1, the others peak at up "
                f"to {self.highest:.3g}); rescale it"
            )
        if peak * gain < self.silence_peak:
            return (
                f"at another scale than the other recordings (peak {peak:.5g}: silence at {whose} of "
                f"{gain:.3g}); rescale it or the others"
            )
        if peak * gain > CLIPPED_BEYOND_USE:
            above = 20 * np.log10(peak * gain)
            return (
                f"too loud (peak {peak:.5g}, {above:.0f} dB above full scale at {whose} of {gain:.3g}, "
                "so that nearly all of it is clipped); scale it down"
            )
        return None


def corpus_level(peaks: Sequence[float], peak: float | None, silence_peak: float) -> CorpusLevel:
    """The gain that brings the 95th percentile of the peaks to `peak`: a few loud recordings do not decide it.

    Silence and recordings at another scale do not count. Without `peak` the gain is 1.
    """
    audible = np.array([value for value in peaks if value >= silence_peak])
    if not len(audible):
        return CorpusLevel(1.0, np.inf, silence_peak)
    highest = max(OTHER_SCALE, OTHER_THAN_MEDIAN * float(np.median(audible)))
    alike = audible[audible <= highest]
    gain = 1.0 if peak is None else peak / float(np.percentile(alike, 95))
    return CorpusLevel(gain, float(alike.max()), silence_peak)
