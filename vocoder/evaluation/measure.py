"""The measures of one waveform against its target, by their names."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import UserError
from vocoder.evaluation.cepstral import mel_cepstral_distortion, mel_cepstrum
from vocoder.evaluation.measures import MEASURES
from vocoder.evaluation.metrics import level_in_pauses, log_mel_distance
from vocoder.evaluation.packages import is_usable
from vocoder.evaluation.perceptual import mos, pesq, stoi
from vocoder.evaluation.pitch import PitchErrors, PitchTrack, pitch_errors, pitch_track
from vocoder.evaluation.spectral import MIN_SAMPLES, multi_resolution_stft_distance, spectral_convergence
from vocoder.features.mel import MelSpec


class Analysis:
    """A waveform [T] and what is computed of it, once and when it is asked for."""

    def __init__(self, waveform: np.ndarray, sample_rate: int):
        self.waveform = np.ascontiguousarray(waveform, np.float32)
        self.sample_rate = sample_rate

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self.waveform)

    @cached_property
    def pitch(self) -> PitchTrack:
        return pitch_track(self.waveform, self.sample_rate)

    @cached_property
    def cepstra(self) -> np.ndarray:
        return mel_cepstrum(self.waveform, self.sample_rate, self.pitch)


class Target(Analysis):
    """A recording: waveform [T] and its log-mel [n_mels, F]. Give the same one for all of its renditions."""

    def __init__(self, waveform: np.ndarray, mel: Tensor, spec: MelSpec):
        super().__init__(waveform, spec.sample_rate)
        self.mel = mel
        self.spec = spec


@dataclass(frozen=True)
class Pair:
    """A rendition and its target, with the measures that need more than one call."""

    rendition: Analysis
    target: Target

    @property
    def waves(self) -> tuple[np.ndarray, np.ndarray, int]:
        return self.rendition.waveform, self.target.waveform, self.target.sample_rate

    @cached_property
    def pitch(self) -> PitchErrors:
        return pitch_errors(self.rendition.pitch, self.target.pitch)

    def log_mel(self) -> float | None:
        try:
            return log_mel_distance(self.rendition.tensor, self.target.mel, self.target.spec)
        except UserError:  # too short for a mel
            return None

    def spectral(self, distance: Callable[[Tensor, Tensor], Tensor]) -> float | None:
        samples = min(len(self.rendition.waveform), len(self.target.waveform))
        if samples < MIN_SAMPLES:
            return None
        return float(distance(self.rendition.tensor[:samples], self.target.tensor[:samples]))

    def noise_floor(self, wave: Tensor) -> float:
        return level_in_pauses(wave, self.target.tensor, self.target.sample_rate)


# Of those in MEASURES, the ones that compare waveforms. What does not apply is None or not finite.
FUNCTIONS: dict[str, Callable[[Pair], float | None]] = {
    "log_mel": Pair.log_mel,
    "stft": lambda pair: pair.spectral(multi_resolution_stft_distance),
    "convergence": lambda pair: pair.spectral(spectral_convergence),
    "mcd": lambda pair: mel_cepstral_distortion(pair.rendition.cepstra, pair.target.cepstra),
    "f0_rmse": lambda pair: pair.pitch.f0_rmse,
    "voicing_error": lambda pair: pair.pitch.voicing_error,
    "voicing_f1": lambda pair: pair.pitch.voicing_f1,
    "gross_pitch_error": lambda pair: pair.pitch.gross_pitch_error,
    "pesq_wb": lambda pair: pesq(*pair.waves, band="wb"),
    "pesq_nb": lambda pair: pesq(*pair.waves, band="nb"),
    "stoi": lambda pair: stoi(*pair.waves),
    "estoi": lambda pair: stoi(*pair.waves, extended=True),
    "mos": lambda pair: mos(pair.rendition.waveform, pair.rendition.sample_rate),
    "noise_floor": lambda pair: pair.noise_floor(pair.rendition.tensor),
    "noise_excess": lambda pair: pair.noise_floor(pair.rendition.tensor) - pair.noise_floor(pair.target.tensor),
}
PACKAGES = {  # the optional package that a measure needs
    **dict.fromkeys(("mcd", "f0_rmse", "voicing_error", "voicing_f1", "gross_pitch_error"), "pyworld"),
    **dict.fromkeys(("pesq_wb", "pesq_nb"), "pesq"),
    **dict.fromkeys(("stoi", "estoi"), "pystoi"),
    "mos": "distillmos",
}


def measure(waveform: np.ndarray, target: Target, names: Collection[str]) -> dict[str, float]:
    """The measures among `names` that compare a waveform [T] with its target; the rate of both is the target's.

    What does not apply to the waveform (the pitch of whispered speech, the level in pauses of speech without any) is
    left out, and so are measures that are made elsewhere: likelihood, artefacts and FLAC.

    Raises:
        UserError: the package of a measure is not installed.
    """
    pair = Pair(Analysis(waveform, target.sample_rate), target)
    values = {name: function(pair) for name, function in FUNCTIONS.items() if name in names}
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def available_measures() -> set[str]:
    """The names of the measures whose packages are installed, or that need none."""
    return {measure.name for measure in MEASURES if measure.name not in PACKAGES or is_usable(PACKAGES[measure.name])}
