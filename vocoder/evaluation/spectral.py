"""Multi-resolution STFT distance (Yamamoto et al. 2020, Parallel WaveGAN): a measure, and a loss with a gradient."""

import math

import torch
from torch import Tensor

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop, window in samples
SHORTEST = 1025  # samples: the longest window is padded by half of its transform to either side
QUIET = (
    0.01  # magnitude, about that of noise at -60 dB: distances are over no quieter a target's, or silence would be all
)
FLOOR = 1e-7  # of the power, under root and logarithm: both have gradients there


def multi_resolution_stft_distance(waveform: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence plus mean absolute log-magnitude difference in nepers, over three resolutions.

    Waveform and target [T] or [B, T], a batch being one signal in pieces; more than 1024 samples each. Equations 4 to 6
    of the paper, with its windows in samples, so that numbers compare at one sample rate only. They have no unit; 0 is
    equality, and 1 comes from the convergence alone where the waveform is silent.
    """
    distances = []
    for n_fft, hop, window in RESOLUTIONS:
        ours, theirs = (magnitude(signal, n_fft, hop, window) for signal in (waveform, target))
        convergence = (theirs - ours).norm() / theirs.norm().clamp(min=QUIET * math.sqrt(theirs.numel()))
        distances.append(convergence + (theirs.log() - ours.log()).abs().mean())
    return torch.stack(distances).mean()


def magnitude(signal: Tensor, n_fft: int, hop: int, window: int) -> Tensor:
    """Of the STFT with a Hann window [..., n_fft/2 + 1, frames], never below the root of the floor."""
    spectrum = torch.stft(signal, n_fft, hop, window, torch.hann_window(window).to(signal), return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=FLOOR).sqrt()
