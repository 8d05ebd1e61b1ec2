"""Pitch and voicing of a waveform against its target: fundamental frequency by WORLD's DIO and StoneMask (pyworld).

DIO (Morise, Kawahara and Katayose 2009) proposes a fundamental frequency F0 between 71 and 800 Hz, StoneMask refines
it. Harvest (Morise 2017) takes 16 times as long, and its tracks of the same speech with and without weak noise differ
far more.
"""

from dataclasses import dataclass

import numpy as np

from vocoder.evaluation.packages import optional_package

HOP_SECONDS = 0.005  # WORLD's default
GROSS_ERROR = 0.2  # of the target's F0; mostly octave errors, and usual since Rabiner et al. 1976
CENTS_PER_OCTAVE = 1200


@dataclass(frozen=True)
class PitchTrack:
    """Fundamental frequency f0 [F] in Hz every 5 ms, the first at time 0; 0 where the speech is unvoiced."""

    f0: np.ndarray


@dataclass(frozen=True)
class PitchErrors:
    """How a pitch track differs from its target; None where there are no frames to compare.

    Attributes:
        f0_rmse: root mean square difference in cents, over the frames that are voiced in both and no gross errors.
        gross_pitch_error: frames whose F0 is off by more than 20 %, in % of those voiced in both (GPE in Chu and
            Alwan 2009).
        voicing_error: frames voiced in one track alone, in % of all (VDE in Chu and Alwan 2009).
        voicing_f1: F1 score of the voiced frames; 1 if the same frames are voiced.
    """

    f0_rmse: float | None
    gross_pitch_error: float | None
    voicing_error: float | None
    voicing_f1: float | None


def pitch_track(waveform: np.ndarray, sample_rate: int) -> PitchTrack:
    """The pitch track of a waveform [T]: F = floor(seconds / 5 ms) + 1 frames.

    Raises:
        UserError: the package pyworld is not installed.
    """
    world, wave = optional_package("pyworld"), np.ascontiguousarray(waveform, np.float64)
    f0, times = world.dio(wave, sample_rate, frame_period=1000 * HOP_SECONDS)
    return PitchTrack(world.stonemask(wave, f0, times, sample_rate))


def pitch_errors(track: PitchTrack, target: PitchTrack) -> PitchErrors:
    """Compare two tracks frame by frame, up to the end of the shorter one."""
    frames = min(len(track.f0), len(target.f0))
    f0, target_f0 = track.f0[:frames], target.f0[:frames]
    voiced, target_voiced = f0 > 0, target_f0 > 0
    both = voiced & target_voiced
    ratio = f0[both] / target_f0[both]
    gross = np.abs(ratio - 1) > GROSS_ERROR
    cents = CENTS_PER_OCTAVE * np.log2(ratio[~gross])
    any_voiced = (voiced | target_voiced).any()
    return PitchErrors(
        f0_rmse=float(np.sqrt((cents**2).mean())) if len(cents) else None,
        gross_pitch_error=100 * float(gross.mean()) if len(gross) else None,
        voicing_error=100 * float((voiced != target_voiced).mean()) if frames else None,
        voicing_f1=float(2 * both.sum() / (voiced.sum() + target_voiced.sum())) if any_voiced else None,
    )
