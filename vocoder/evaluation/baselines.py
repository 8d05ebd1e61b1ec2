"""Baselines that need no network: Griffin-Lim, white noise through the LPC filter of the mel, and WORLD."""

import librosa
import numpy as np
import torch
from torch import Tensor

from vocoder.evaluation.packages import optional_package
from vocoder.evaluation.pitch import HOP_SECONDS, pitch_track
from vocoder.features.audio import resample
from vocoder.features.mel import MelSpec, energies, input_response, mel_filterbank
from vocoder.model import extend_edges
from vocoder.model.linear_prediction import LinearPrediction

WORLD_RATE = 16000  # Hz; the lowest rate that WORLD is run at


def griffin_lim(mel: np.ndarray, spec: MelSpec, iterations: int = 60) -> np.ndarray:
    """A waveform [F * hop_length] from log-mel [n_mels, F]: magnitudes by least squares, phases by iteration.

    Griffin and Lim 1984, in librosa's accelerated form (Perraudin et al. 2013).
    """
    # Sound beyond both ends, or the wave would jump from zero; half a window of it, so that librosa has a whole one.
    edge = -(-spec.n_fft // (2 * spec.hop_length))
    extended = np.pad(mel, ((0, 0), (edge, edge)), mode="edge")
    bands = energies(torch.from_numpy(extended), spec).float().numpy()
    levels = librosa.util.nnls(mel_filterbank(spec).numpy(), bands) ** (1 / spec.power)
    magnitude = levels / input_response(spec).numpy()[:, None]
    wave = librosa.griffinlim(
        magnitude,
        n_iter=iterations,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        n_fft=spec.n_fft,
        random_state=0,
    )
    lead = int(spec.frame_centre * spec.hop_length)  # librosa centres frame 0 on sample 0
    first = edge * spec.hop_length - lead
    padded = np.pad(wave, (0, spec.n_fft))[first : first + mel.shape[1] * spec.hop_length]
    return padded.clip(-1, 1).astype(np.float32)


def filtered_noise(mel: np.ndarray, linear_prediction: LinearPrediction, seed: int = 0) -> np.ndarray:
    """A waveform [F * hop_length]: white Gaussian noise through the LPC filter of log-mel [n_mels, F].

    It shows what linear prediction contributes by itself: the spectral envelope and the level, but no pitch.
    """
    context = linear_prediction.context_frames
    predictor = linear_prediction.predictor(
        linear_prediction(extend_edges(torch.from_numpy(mel)[None], context, context))
    )
    noise = torch.randn(predictor.log_gain.shape[1], generator=torch.Generator().manual_seed(seed))
    return all_pole_filter(noise * predictor.log_gain[0].exp(), predictor.weights[0]).clip(-1, 1).astype(np.float32)


def world_vocoder(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """A waveform [T] from the parameters that WORLD (Morise et al. 2016; pyworld) extracts of a waveform [T].

    Unlike the other baselines it hears the recording, not the mel: its pitch (DIO and StoneMask), spectral envelope
    (CheapTrick) and aperiodicity (D4C), every 5 ms. Below 16 kHz it works at 16 kHz, because D4C looks for voicing up
    to 7.9 kHz.

    Raises:
        UserError: the package pyworld is not installed.
    """
    if sample_rate < WORLD_RATE:
        at_16k = resample(np.asarray(waveform, np.float32), sample_rate, WORLD_RATE)
        rendered = resample(world_vocoder(at_16k, WORLD_RATE), WORLD_RATE, sample_rate)
        return np.pad(rendered, (0, max(0, len(waveform) - len(rendered))))[: len(waveform)]
    world, wave = optional_package("pyworld"), np.ascontiguousarray(waveform, np.float64)
    track = pitch_track(wave, sample_rate).f0
    times = np.arange(len(track)) * HOP_SECONDS
    envelope = world.cheaptrick(wave, track, times, sample_rate)
    aperiodicity = world.d4c(wave, track, times, sample_rate)
    rendered = world.synthesize(track, envelope, aperiodicity, sample_rate, 1000 * HOP_SECONDS)
    padded = np.pad(rendered, (0, max(0, len(wave) - len(rendered))))[: len(wave)]
    return padded.clip(-1, 1).astype(np.float32)


def all_pole_filter(excitation: Tensor, weights: Tensor) -> np.ndarray:
    """Time-varying synthesis filter x[t] = excitation[t] + sum over k of weights[t, k] x[t - K + k], with x[t < 0] = 0.

    excitation [T], weights [T, K], oldest sample first -> [T].
    """
    e, w = excitation.double().numpy(), weights.double().numpy()
    samples, order = w.shape
    x = np.zeros(order + samples)
    for t in range(samples):
        x[order + t] = e[t] + w[t] @ x[t : t + order]
    return x[order:]
