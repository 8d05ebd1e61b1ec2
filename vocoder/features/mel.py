"""Log-mel-spectrograms: their complete specification, the presets, the transform, and a check of foreign mels.

B batch, T samples, F frames, n_mels bands. A mel of F frames covers exactly F * hop_length samples.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Literal, get_args, get_origin

import librosa
import torch
from torch import Tensor
from torch.nn.functional import pad

from vocoder.errors import UserError


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
    win_length: int  # samples; a periodic Hann window, centred in n_fft
    n_mels: int
    fmin: float  # Hz
    fmax: float  # Hz
    mel_scale: Literal["slaney", "htk"] = "slaney"
    filter_norm: Literal["slaney", "none"] = "slaney"
    # Position of frame 0: "frame" centres it on the first hop ((n_fft - hop_length) / 2 reflected samples before the
    # waveform), "centre" on sample 0 (n_fft / 2 of them); with "ahead" it begins there, and zeros follow the waveform.
    padding: Literal["frame", "centre", "ahead"] = "frame"
    magnitude_epsilon: float = 1e-9  # magnitude is sqrt(re^2 + im^2 + magnitude_epsilon)
    log_floor: float = 1e-5  # the log-mel is log(max(mel, log_floor))
    log_base: Literal["e", "10"] = "e"
    window: Literal["hann", "lws"] = "hann"  # periodic; that of the package lws is the root of half a symmetric one

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
        for field in fields(self):
            names = get_args(field.type) if get_origin(field.type) is Literal else ()
            if names and getattr(self, field.name) not in names:
                raise UserError(f"mel: {field.name}={getattr(self, field.name)}: must be {' or '.join(names)}")

    def hash(self) -> str:
        """Sixteen hex digits that identify the values of all fields (SHA-256)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.window == "hann":  # specs from before there were others keep their hashes
            del values["window"]
        values |= {field.name: float(values[field.name]) for field in fields(self) if field.type is float}  # 0 is 0.0
        canonical = json.dumps(values, sort_keys=True)
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
    def log_minimum(self) -> float:
        """The lowest value of a mel with this spec."""
        return math.log(self.log_floor) / self.log_unit

    @property
    def log_maximum(self) -> float:
        """An upper bound for waveforms in [-1, 1]: the band with the largest weights, all its bins at full scale."""
        gain = hann_window(self).sum() * mel_filterbank(self).sum(dim=1).max()
        return float(gain.log()) / self.log_unit

    @property
    def log_noise(self) -> float:
        """The mean of the log-mel of full-scale white noise, which is louder than any speech in nearly every band."""
        magnitude = (hann_window(self).square().sum() / 3).sqrt()  # uniform noise in [-1, 1] has variance 1/3
        bands = (magnitude * mel_filterbank(self).sum(dim=1)).clamp(min=self.log_floor)
        return float(bands.log().mean()) / self.log_unit

    @property
    def log_unit(self) -> float:
        """Nepers (units of the natural logarithm of amplitude) in one unit of the mel: 1, or ln 10 for log base 10."""
        return math.log(10) if self.log_base == "10" else 1.0


PRESETS: dict[str, MelSpec] = {
    # jik876/hifi-gan, also Matcha-TTS, BigVGAN v2 22k 80-band fmax8k, CosyVoice 1
    "hifigan_22k": MelSpec(22050, 1024, 256, 1024, 80, 0.0, 8000.0),
    # NVIDIA/tacotron2
    "tacotron2_22k": MelSpec(22050, 1024, 256, 1024, 80, 0.0, 8000.0, padding="centre", magnitude_epsilon=0.0),
    # jaywalnut310/vits
    "vits_22k": MelSpec(22050, 1024, 256, 1024, 80, 0.0, 11025.0, magnitude_epsilon=1e-6),
    # NVIDIA/BigVGAN, 24 kHz
    "bigvgan_24k": MelSpec(24000, 1024, 256, 1024, 100, 0.0, 12000.0),
    # this project's, for 16 kHz speech: 50 ms windows every 12.5 ms, the whole band
    "speech_16k": MelSpec(16000, 1024, 200, 800, 80, 0.0, 8000.0),
}


def preset_name(spec: MelSpec) -> str:
    """The name of the preset equal to `spec`, or 'custom'."""
    return next((name for name, preset in PRESETS.items() if preset == spec), "custom")


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
def hann_window(spec: MelSpec) -> Tensor:
    """The spec's window [win_length], Hann's or made of it."""
    if spec.window == "lws":
        return (torch.hann_window(spec.win_length, periodic=False) / 2).sqrt()
    return torch.hann_window(spec.win_length, periodic=True)


def frame_count(samples: int, spec: MelSpec) -> int:
    """The number of whole frames in a waveform of `samples` samples."""
    return samples // spec.hop_length


def log_mel(waveform: Tensor, spec: MelSpec) -> Tensor:
    """Log-mel-spectrogram of whole utterances: waveform [..., T] -> [..., n_mels, F], F = T // hop_length.

    Samples after the last whole frame are dropped first, so that mel and waveform cover the same time.
    Pass whole utterances, not crops: a crop's edges are padded by reflection instead of with the neighbouring samples.

    Raises:
        UserError: the waveform is too short for reflection padding.
    """
    frames = frame_count(waveform.shape[-1], spec)
    reach = max(spec.window_reach)
    if frames * spec.hop_length <= reach:
        raise UserError(
            f"{waveform.shape[-1]} samples are too short for a mel-spectrogram: it needs more than "
            f"{reach} ({1000 * reach / spec.sample_rate:.0f} ms)"
        )
    waveform = waveform[..., : frames * spec.hop_length]
    batch = waveform.reshape(-1, waveform.shape[-1])
    spectrum = torch.stft(
        pad(batch, spec.window_reach, mode="constant" if spec.padding == "ahead" else "reflect"),
        spec.n_fft,
        spec.hop_length,
        spec.win_length,
        hann_window(spec).to(batch),
        center=False,
        return_complex=True,
    )  # [B, n_fft/2 + 1, F]
    magnitude = (spectrum.real.square() + spectrum.imag.square() + spec.magnitude_epsilon).sqrt()
    mel = mel_filterbank(spec).to(batch) @ magnitude
    mel = mel.clamp(min=spec.log_floor)
    mel = mel.log10() if spec.log_base == "10" else mel.log()
    return mel.reshape(*waveform.shape[:-1], spec.n_mels, frames)


# How far, in nepers, an acoustic model's mel may lie outside the range that the spec can produce.
_OVERSHOOT = 2.0


def check_mel(mel: Tensor, spec: MelSpec, *, whole_utterance: bool = True) -> None:
    """Reject a mel [n_mels, F] that this spec cannot have produced.

    Args:
        whole_utterance: whether to check the mean, too; that of a short piece proves nothing.

    Raises:
        UserError: wrong shape or layout, no frames, NaN or infinite values, or a range or mean that shows another
            log base, scale or normalisation.
    """
    if mel.ndim != 2:
        raise UserError(f"a mel has two axes [n_mels, frames]; this one has shape {list(mel.shape)}")
    bands, frames = mel.shape
    if bands != spec.n_mels and frames == spec.n_mels:
        raise UserError(f"this mel is [frames, n_mels] = {list(mel.shape)}; transpose it to [{spec.n_mels}, {bands}]")
    if bands != spec.n_mels:
        raise UserError(f"this mel has {bands} bands, the model takes {spec.n_mels} ({preset_name(spec)})")
    if frames == 0:
        raise UserError("this mel has no frames")
    if not mel.isfinite().all():
        raise UserError("this mel has NaN or infinite values")
    low, high = float(mel.min()), float(mel.max())
    lowest = spec.log_minimum - _OVERSHOOT / spec.log_unit
    highest = spec.log_maximum + _OVERSHOOT / spec.log_unit
    if low < lowest or high > highest:
        raise UserError(
            f"this mel runs from {low:.1f} to {high:.1f}; {preset_name(spec)} (log base {spec.log_base}) gives "
            f"{spec.log_minimum:.1f} to {spec.log_maximum:.1f}: it was made with another log, scale or normalisation"
        )
    mean = float(mel.mean())
    # A mel normalised to mean 0 and variance 1 is within the range, and only its mean is too high.
    if whole_utterance and mean > spec.log_noise:
        raise UserError(
            f"this mel averages {mean:.1f}, more than full-scale white noise in {preset_name(spec)} (log base "
            f"{spec.log_base}), {spec.log_noise:.1f}: it was made with another log, scale or normalisation"
        )
