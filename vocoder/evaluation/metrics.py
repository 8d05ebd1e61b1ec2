"""Objective measures of a waveform against its target, with units."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.features.mel import MelSpec, log_mel

DECIBELS_PER_NEPER = 20 / math.log(10)
PAUSE_FRAME_SECONDS = 0.01
PAUSE_FRAMES = 5  # the shortest pause; plosives (t, k) begin with silences that are mostly shorter and count as speech
PAUSE_DECIBELS = (
    40.0  # below the loudest frame: frames under it are pauses. All speech sounds are louder, a studio's noise is not
)
LEVEL_FLOOR = (1 / 32768) ** 2 / 12  # power of 16-bit quantisation noise, -101 dB; lower levels are reported as this


def log_mel_distance(waveform: Tensor, target_mel: Tensor, spec: MelSpec) -> float:
    """Mean absolute difference of log-mels in dB: waveform [T] against target_mel [n_mels, F].

    This is the mel loss of HiFi-GAN (Kong et al. 2020), converted to decibels of amplitude for any base of the spec's
    logarithm. 0 means equal mels.
    """
    mel = log_mel(waveform, spec)
    frames = min(mel.shape[1], target_mel.shape[1])
    nepers = float((mel[:, :frames] - target_mel[:, :frames]).abs().mean()) * spec.log_unit
    return nepers * DECIBELS_PER_NEPER


def level_in_pauses(waveform: Tensor, target: Tensor, sample_rate: int) -> float:
    """Level of a waveform [T] in dB (RMS 1 is 0 dB) in the pauses of its target [T]; NaN if there are no pauses.

    The ideal is the level of the target itself: above it there is noise in the pauses, below it the room's own noise
    is missing. Waveforms of unequal length are compared up to the end of the shorter one.
    """
    length = round(PAUSE_FRAME_SECONDS * sample_rate)
    samples = min(len(waveform), len(target)) // length * length
    if samples < PAUSE_FRAMES * length:
        return math.nan
    frames = _frame_power(target[:samples], length)
    is_quiet = frames < frames.max() * 10 ** (-PAUSE_DECIBELS / 10)
    kernel = torch.ones(1, 1, PAUSE_FRAMES, device=target.device)
    runs = F.conv1d(is_quiet.float()[None, None], kernel) == PAUSE_FRAMES  # starts of long enough runs
    in_pause = F.conv_transpose1d(runs.float(), kernel)[0, 0] > 0
    if not in_pause.any():
        return math.nan
    power = _frame_power(waveform[:samples], length)[in_pause].mean()
    return 10 * math.log10(max(float(power), LEVEL_FLOOR))


def _frame_power(signal: Tensor, length: int) -> Tensor:
    """Mean square of each complete frame of `length` samples: [T] -> [T // length]."""
    return signal.double().unfold(0, length, length).square().mean(1)
