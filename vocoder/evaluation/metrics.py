"""Distances between a waveform and its target, each with its unit."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.features.mel import MelSpec, log_mel

DECIBELS_PER_NEPER = 20 / math.log(10)
PAUSE_FRAME_SECONDS = 0.01
PAUSE_FRAMES = 5  # in a row: most closures of a t or k are shorter, and belong to the speech
PAUSE_DECIBELS = 40.0  # below the loudest frame: softer than any phone, louder than a studio's noise
LEVEL_FLOOR = (1 / 32768) ** 2 / 12  # power of 16-bit rounding, -101 dB: less is silence


def log_mel_distance(waveform: Tensor, target_mel: Tensor, spec: MelSpec) -> float:
    """Mean absolute difference of log-mels in dB: waveform [T] against target_mel [n_mels, F].

    The L1 distance of mels that HiFi-GAN (Kong et al. 2020) trains with, in decibels of amplitude
    whatever the spec's logarithm. 0 is equality.
    """
    mel = log_mel(waveform, spec)
    frames = min(mel.shape[1], target_mel.shape[1])
    nepers = float((mel[:, :frames] - target_mel[:, :frames]).abs().mean()) * spec.log_unit
    return nepers * DECIBELS_PER_NEPER


def level_in_pauses(waveform: Tensor, target: Tensor, sample_rate: int) -> float:
    """Level of a waveform [T] in dB below full scale (RMS of 1) where its target [T] pauses; NaN where it never does.

    The level of the target itself is the one to have: more is noise in silence, less is silence where a room was.
    """
    length = round(PAUSE_FRAME_SECONDS * sample_rate)
    samples = min(len(waveform), len(target)) // length * length
    if samples < PAUSE_FRAMES * length:
        return math.nan
    frames = _frame_power(target[:samples], length)
    quiet = frames < frames.max() * 10 ** (-PAUSE_DECIBELS / 10)
    kernel = torch.ones(1, 1, PAUSE_FRAMES, device=target.device)
    runs = F.conv1d(quiet.float()[None, None], kernel) == PAUSE_FRAMES  # where a long enough run starts
    in_pause = F.conv_transpose1d(runs.float(), kernel)[0, 0] > 0
    if not in_pause.any():
        return math.nan
    power = _frame_power(waveform[:samples], length)[in_pause].mean()
    return 10 * math.log10(max(float(power), LEVEL_FLOOR))


def _frame_power(signal: Tensor, length: int) -> Tensor:
    """Mean square of each whole frame of `length` samples."""
    return signal.double().unfold(0, length, length).square().mean(1)
