"""Multi-resolution STFT distance (Yamamoto et al. 2020, Parallel WaveGAN), as a measure and as a loss."""

import math

import torch
from torch import Tensor

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop, window in samples
# torch.stft reflects half of the longest transform at either end, which needs one sample more than that.
MIN_SAMPLES = 1025
# Magnitude of noise at about -60 dB. The spectral convergence divides by no quieter a target than this; otherwise
# silent targets would dominate the loss.
MIN_TARGET_MAGNITUDE = 0.01
POWER_FLOOR = 1e-7  # keeps the gradients of square root and logarithm finite


def multi_resolution_stft_distance(waveform: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence plus mean absolute log-magnitude difference (in nepers), averaged over three resolutions.

    Waveform and target [T] or [B, T], T > 1024; a batch is treated as one signal in B pieces. Equations 4 to 6 of the
    paper. Its windows are fixed in samples, so values are comparable only at the same sample rate. The distance has no
    unit; 0 means equal magnitudes, and a silent waveform has a spectral convergence of 1.
    """
    distances = []
    for n_fft, hop, window in RESOLUTIONS:
        magnitude, target_magnitude = (stft_magnitude(signal, n_fft, hop, window) for signal in (waveform, target))
        log_difference = (target_magnitude.log() - magnitude.log()).abs().mean()
        distances.append(_convergence(magnitude, target_magnitude) + log_difference)
    return torch.stack(distances).mean()


def spectral_convergence(waveform: Tensor, target: Tensor) -> Tensor:
    """The norm of the difference of magnitudes relative to the target's norm, averaged over three resolutions.

    Arık et al. 2018, equation 4; otherwise as in `multi_resolution_stft_distance`, of which it is one part.
    """
    return torch.stack(
        [
            _convergence(*(stft_magnitude(signal, n_fft, hop, window) for signal in (waveform, target)))
            for n_fft, hop, window in RESOLUTIONS
        ]
    ).mean()


def _convergence(magnitude: Tensor, target_magnitude: Tensor) -> Tensor:
    """Spectral convergence of STFT magnitudes of equal shape."""
    smallest_norm = MIN_TARGET_MAGNITUDE * math.sqrt(target_magnitude.numel())
    return (target_magnitude - magnitude).norm() / target_magnitude.norm().clamp(min=smallest_norm)


def stft_magnitude(signal: Tensor, n_fft: int, hop: int, window: int) -> Tensor:
    """STFT magnitude with a Hann window, floored at sqrt(POWER_FLOOR): [..., T] -> [..., n_fft/2 + 1, frames]."""
    spectrum = torch.stft(signal, n_fft, hop, window, torch.hann_window(window).to(signal), return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=POWER_FLOOR).sqrt()
