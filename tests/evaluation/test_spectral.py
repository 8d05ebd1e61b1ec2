"""The multi-resolution STFT distance against scipy; its gradients are finite wherever it may be used as a loss."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.evaluation.spectral import multi_resolution_stft_distance, spectral_convergence


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=16000).astype(np.float32) * 0.1


def test_the_distance_of_a_waveform_from_itself_is_zero():
    wave = torch.from_numpy(noise())
    assert multi_resolution_stft_distance(wave, wave) == 0


def test_the_distance_at_half_the_amplitude_is_one_half_plus_log_two():
    wave = torch.from_numpy(noise())
    assert multi_resolution_stft_distance(wave / 2, wave) == pytest.approx(0.5 + math.log(2), abs=1e-3)


def test_the_distance_agrees_with_scipy():
    one, other = noise(1), noise(2)
    expected = []
    for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        padded_window = np.pad(scipy.signal.get_window("hann", window), (n_fft - window) // 2)
        magnitudes = []
        for wave in (one, other):
            padded = np.pad(wave.astype(float), n_fft // 2, mode="reflect")
            frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
            power = np.abs(np.fft.rfft(frames * padded_window)) ** 2
            magnitudes.append(np.sqrt(np.maximum(power, 1e-7)))
        ours, target = magnitudes
        convergence = np.sqrt(((target - ours) ** 2).sum() / (target**2).sum())
        expected.append(convergence + np.abs(np.log(target / ours)).mean())
    measured = multi_resolution_stft_distance(torch.from_numpy(one), torch.from_numpy(other))
    assert measured == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_silent_waveform_has_a_convergence_of_one_and_finite_gradients():
    wave = torch.zeros(4000, requires_grad=True)
    distance = multi_resolution_stft_distance(wave, torch.from_numpy(noise())[:4000])
    assert distance > 1
    distance.backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_gradient_descent_reduces_the_distance():
    target = torch.from_numpy(noise(1))[:6000]
    wave = torch.from_numpy(noise(2))[:6000].clone().requires_grad_()
    optimizer = torch.optim.Adam([wave], 0.01)
    start = multi_resolution_stft_distance(wave, target).item()
    for _ in range(60):
        optimizer.zero_grad()
        distance = multi_resolution_stft_distance(wave, target)
        distance.backward()
        optimizer.step()
    assert distance.item() < 0.7 * start


def test_a_silent_target_gives_bounded_distances_and_finite_gradients() -> None:
    wave = (0.5 * torch.randn(4000, generator=torch.Generator().manual_seed(0))).requires_grad_()
    distance = multi_resolution_stft_distance(wave, torch.zeros(4000))
    distance.backward()
    assert 1 < distance.item() < 2000
    assert wave.grad is not None
    assert wave.grad.isfinite().all()
    quiet = 1e-4 * torch.randn(4000, generator=torch.Generator().manual_seed(1))
    assert float(multi_resolution_stft_distance(quiet, torch.zeros(4000))) < 3


# The convergence alone


def test_the_convergence_at_half_the_amplitude_is_one_half_and_of_equal_waveforms_zero() -> None:
    wave = torch.from_numpy(noise())
    assert spectral_convergence(wave / 2, wave) == pytest.approx(0.5, abs=1e-3)
    assert spectral_convergence(wave, wave) == 0
    assert spectral_convergence(torch.zeros(16000), wave) == pytest.approx(1, abs=1e-2)


def test_the_convergence_agrees_with_scipy() -> None:
    one, other = noise(1), noise(2)
    expected = []
    for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        padded_window = np.pad(scipy.signal.get_window("hann", window), (n_fft - window) // 2)
        transform = scipy.signal.ShortTimeFFT(padded_window, hop, fs=1.0)
        ours, target = (
            np.abs(transform.stft(np.pad(wave.astype(float), 2048), p0=0, p1=(16000 + 4096) // hop))
            for wave in (one, other)
        )
        expected.append(np.linalg.norm(target - ours) / np.linalg.norm(target))
    measured = spectral_convergence(torch.from_numpy(one), torch.from_numpy(other))
    assert measured == pytest.approx(np.mean(expected), rel=0.01)  # the edges are padded in another way
