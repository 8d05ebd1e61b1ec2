"""The complete description of a log-mel-spectrogram, and what follows from it: filters, window, range of values.

waveform -> high-pass, pre-emphasis -> padding -> |STFT|^power -> mel filters -> band energies x
value = log_gain * log(x, no lower than log_floor and no higher than log_ceiling) + log_offset
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Literal, TypeVar, get_args, get_origin

import librosa
import numpy as np
import scipy.signal
import torch
from torch import Tensor

from vocoder.errors import UserError

Array = TypeVar("Array", np.ndarray, Tensor)
HIGHPASS_TAPS = 255  # of the linear-phase high-pass
LOWEST_RESPONSE = 0.01  # -40 dB: what a filter has all but removed is not restored


@dataclass(frozen=True)
class MelSpec:
    """Every parameter that affects the values of a log-mel-spectrogram.

    Specs with equal fields have equal hashes. Stores and models record the hash.

    Raises:
        UserError: a parameter is out of range.
    """

    sample_rate: int  # Hz
    n_fft: int  # samples
    hop_length: int  # samples between frames
    win_length: int  # samples of the window, centred in n_fft
    n_mels: int
    fmin: float  # Hz
    fmax: float  # Hz
    mel_scale: Literal["slaney", "htk"] = "slaney"
    filter_norm: Literal["slaney", "none"] = "slaney"
    # Position of frame 0: "frame" centres it on the first hop ((n_fft - hop_length) / 2 samples of padding before the
    # waveform), "centre" on sample 0 (n_fft / 2 of them); with "ahead" it begins there, and all padding comes after.
    padding: Literal["frame", "centre", "ahead"] = "frame"
    magnitude_epsilon: float = 1e-9  # magnitude is sqrt(re^2 + im^2 + magnitude_epsilon)
    log_floor: float = 1e-5  # the logarithm is that of max(x, log_floor)
    log_base: Literal["e", "10"] = "e"
    # Fields that came later: at their defaults they do not change the hash, so that those of older stores stay valid.
    pad_mode: Literal["reflect", "zero"] = "reflect"
    # A Hann window with period win_length, or one less; that of the package lws is the root of half a symmetric one.
    window: Literal["periodic", "symmetric", "lws"] = "periodic"
    power: Literal[1, 2] = 1  # the filters weigh magnitudes, or their squares
    log_guard: Literal["max", "add"] = "max"  # with "add" the logarithm is that of x + log_floor
    log_gain: float = 1.0
    log_offset: float = 0.0
    log_ceiling: float | None = None  # x is clipped here; None does not clip
    preemphasis: float = 0.0  # the mel is that of x[t] - preemphasis * x[t - 1]
    highpass: float = 0.0  # Hz, of a linear-phase filter without delay before the mel; 0 is none

    def __post_init__(self) -> None:
        if min(self.sample_rate, self.n_fft, self.hop_length, self.win_length, self.n_mels) < 1:
            raise UserError("mel: sample_rate, n_fft, hop_length, win_length and n_mels must be positive")
        if self.win_length > self.n_fft:
            raise UserError(f"mel: win_length={self.win_length} is longer than n_fft={self.n_fft}")
        if self.hop_length > self.win_length:
            raise UserError(f"mel: hop_length={self.hop_length} skips samples: win_length is {self.win_length}")
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise UserError(f"mel: needs 0 <= fmin < fmax <= {self.sample_rate / 2:g} Hz (half the sample rate)")
        if not 0 < self.log_floor < math.inf or not 0 <= self.magnitude_epsilon < math.inf:
            raise UserError("mel: log_floor must be above 0, magnitude_epsilon at least 0")
        if not 0 < self.log_gain < math.inf or not math.isfinite(self.log_offset):
            raise UserError("mel: log_gain must be above 0, log_offset finite")
        if self.log_ceiling is not None and not self.log_floor < self.log_ceiling < math.inf:
            raise UserError(f"mel: log_ceiling={self.log_ceiling} must be above log_floor={self.log_floor}, or null")
        if not 0 <= self.preemphasis < 1:
            raise UserError(f"mel: preemphasis={self.preemphasis} must be at least 0 and below 1")
        if not 0 <= self.highpass < self.sample_rate / 2:
            raise UserError(f"mel: highpass={self.highpass} must lie between 0 and {self.sample_rate / 2:g} Hz")
        for field in fields(self):
            names = get_args(field.type) if get_origin(field.type) is Literal else ()
            if names and getattr(self, field.name) not in names:
                allowed = " or ".join(str(name) for name in names)
                raise UserError(f"mel: {field.name}={getattr(self, field.name)}: must be {allowed}")

    def hash(self) -> str:
        """Sixteen hex digits that identify the values of all fields (SHA-256)."""
        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ADDED_LATER and value == field.default:
                continue
            values[field.name] = float(value) if field.type is float or field.name == "log_ceiling" else value
        canonical = json.dumps(values, sort_keys=True)  # 0 is 0.0
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def differences(self, other: "MelSpec") -> str:
        """The fields that differ between two specs, as 'hop_length 256 / 200, fmax 8000 / 7600'."""
        mine, theirs = asdict(self), asdict(other)
        return ", ".join(f"{name} {mine[name]} / {theirs[name]}" for name in mine if mine[name] != theirs[name])

    @property
    def frame_centre(self) -> float:
        """Frame f is centred on sample (f + frame_centre) * hop_length."""
        if self.padding == "ahead":
            return self.n_fft / 2 / self.hop_length
        return 0.0 if self.padding == "centre" else 0.5

    @property
    def window_reach(self) -> tuple[int, int]:
        """Samples before and after a frame's hop that its n_fft samples take in."""
        if self.padding == "ahead":
            return 0, self.n_fft - self.hop_length
        left = (self.n_fft if self.padding == "centre" else self.n_fft - self.hop_length) // 2
        return left, self.n_fft - self.hop_length - left

    @property
    def log_unit(self) -> float:
        """Nepers (units of the natural logarithm of amplitude) in one unit of the mel; 1 for plain logs to base e."""
        return self._base / (self.log_gain * self.power)

    def nepers(self, mel: Array) -> Array:
        """The natural logarithm of the amplitude in each band, of a mel of any shape: comparable across specs."""
        return (mel - self.log_offset) * self.log_unit

    @property
    def _base(self) -> float:
        return math.log(10) if self.log_base == "10" else 1.0

    def value_of(self, energy: float) -> float:
        """The value of the mel for a band energy x above 0, within the ceiling."""
        if self.log_ceiling is not None:
            energy = min(energy, self.log_ceiling)
        return self.log_gain * math.log(energy) / self._base + self.log_offset

    @property
    def log_minimum(self) -> float:
        """The lowest value of a mel with this spec."""
        return self.value_of(self.log_floor)

    @property
    def log_maximum(self) -> float:
        """An upper bound for waveforms in [-1, 1]: the band with the largest weights, all its bins at full scale."""
        gain = (1 + self.preemphasis) * (np.abs(highpass_filter(self)).sum() if self.highpass else 1.0)
        magnitude = gain * float(hann_window(self).sum())
        return self.value_of(magnitude**self.power * float(mel_filterbank(self).sum(dim=1).max()) + self._added)

    @property
    def log_noise(self) -> float:
        """The mean of the log-mel of full-scale white noise, which is louder than any speech in nearly every band."""
        magnitude = (hann_window(self).square().sum() / 3).sqrt()  # uniform noise in [-1, 1] has variance 1/3
        bands = mel_filterbank(self) @ (magnitude * input_response(self)) ** self.power
        bands = (bands + self._added).clamp(min=self.log_floor, max=self.log_ceiling)
        return self.log_gain * float(bands.log().mean()) / self._base + self.log_offset

    @property
    def _added(self) -> float:
        return self.log_floor if self.log_guard == "add" else 0.0


ADDED_LATER = {field.name for field in fields(MelSpec)[13:]}


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a cached inference tensor would break later backward passes
def mel_filterbank(spec: MelSpec) -> Tensor:
    """Triangular mel filters [n_mels, n_fft/2 + 1] (librosa)."""
    filters = librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=spec.mel_scale == "htk",
        norm="slaney" if spec.filter_norm == "slaney" else None,
    )
    return torch.from_numpy(filters)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def hann_window(spec: MelSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """The spec's window [win_length]: Hann's, or made of it."""
    if spec.window == "lws":
        return (torch.hann_window(spec.win_length, periodic=False, dtype=dtype) / 2).sqrt()
    return torch.hann_window(spec.win_length, periodic=spec.window == "periodic", dtype=dtype)


def highpass_filter(spec: MelSpec) -> np.ndarray:
    """The symmetric impulse response of the high-pass in float64 (Hamming-windowed sinc; scipy)."""
    return scipy.signal.firwin(HIGHPASS_TAPS, spec.highpass, pass_zero=False, fs=spec.sample_rate)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def input_response(spec: MelSpec) -> Tensor:
    """Magnitude response [n_fft/2 + 1] of pre-emphasis and high-pass, which come before the mel: 1 without them.

    No lower than `LOWEST_RESPONSE`, so that it can be divided by.
    """
    frequencies = np.linspace(0, np.pi, spec.n_fft // 2 + 1)
    response = np.abs(1 - spec.preemphasis * np.exp(-1j * frequencies))
    if spec.highpass:
        response = response * np.abs(scipy.signal.freqz(highpass_filter(spec), worN=frequencies)[1])
    return torch.from_numpy(np.maximum(response, LOWEST_RESPONSE)).float()
