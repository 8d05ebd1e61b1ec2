"""Distances between a waveform and its target, each with its unit."""

import math

from torch import Tensor

from vocoder.mel import MelSpec, log_mel

DECIBELS_PER_NEPER = 20 / math.log(10)


def log_mel_distance(waveform: Tensor, target_mel: Tensor, spec: MelSpec) -> float:
    """Mean absolute difference of log-mels in dB: waveform [T] against target_mel [n_mels, F].

    The L1 distance of mels that HiFi-GAN (Kong et al. 2020) trains with, in decibels of amplitude
    whatever the spec's logarithm. 0 is equality.
    """
    mel = log_mel(waveform, spec)
    frames = min(mel.shape[1], target_mel.shape[1])
    nepers = (mel[:, :frames] - target_mel[:, :frames]).abs().mean() * (math.log(10) if spec.log_base == "10" else 1)
    return float(nepers) * DECIBELS_PER_NEPER
