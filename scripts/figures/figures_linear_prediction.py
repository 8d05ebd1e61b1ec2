"""Draw the figures of docs/linear-prediction.md.

    python -m scripts.figures.figures_linear_prediction [COMPARISON]

Draws the principle on a recording of tests/speech; with COMPARISON, an output folder of compare_linear_prediction.py,
also the dev bits per sample during training.
"""

import json
import math
import sys
from pathlib import Path

import matplotlib
import numpy as np
import scipy.signal
import torch

from vocoder.features.audio import read_audio
from vocoder.features.mel import PRESETS, hann_window, log_mel
from vocoder.model import extend_edges
from vocoder.model.linear_prediction import LinearPrediction, Predictor, default_order

matplotlib.use("agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent.parent
SPEC = PRESETS["speech_16k"]
RECORDING, FRAME = ROOT / "tests/speech/allison/please-try-again.flac", 52  # in a vowel
SAMPLES = 480  # 30 ms around the middle of the frame
GREY, BLUE, RED = "0.6", "#1f5fa8", "#c0392b"


def main() -> None:
    principle().savefig(ROOT / "docs/figures/linear-prediction.png", dpi=130)
    if len(sys.argv) > 1:
        curves = json.loads((Path(sys.argv[1]) / "curves.json").read_text(encoding="utf-8"))
        training(curves).savefig(ROOT / "docs/figures/linear-prediction-training.png", dpi=130)


def principle() -> Figure:
    """Mel; envelope and LPC filter of one frame; signal, prediction and excitation around it."""
    wave = torch.from_numpy(read_audio(RECORDING)[0])
    mel = log_mel(wave, SPEC)
    lpc = LinearPrediction(SPEC, default_order(SPEC.sample_rate), updates=8)
    figure = Figure(figsize=(10, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1, 1.1])
    show_mel(figure.add_subplot(grid[0, 0]), mel)
    show_frame(figure.add_subplot(grid[0, 1]), wave, mel, lpc)
    show_samples(figure.add_subplot(grid[1, :]), wave, mel, lpc)
    return figure


def show_mel(axes: Axes, mel: torch.Tensor) -> None:
    seconds = mel.shape[1] * SPEC.hop_length / SPEC.sample_rate
    axes.imshow(mel, origin="lower", aspect="auto", extent=(0, seconds, 0, SPEC.n_mels), cmap="magma")
    axes.axvline((FRAME + 0.5) * SPEC.hop_length / SPEC.sample_rate, color="white", linewidth=1)
    axes.set(title="log-mel spectrogram", xlabel="seconds", ylabel="mel band")


def show_frame(axes: Axes, wave: torch.Tensor, mel: torch.Tensor, lpc: LinearPrediction) -> None:
    """Spectrum of the frame, the envelope recovered from its mel, and the response of the LPC filter."""
    middle = round((FRAME + 0.5) * SPEC.hop_length)
    frame = wave[middle - SPEC.win_length // 2 : middle + SPEC.win_length // 2] * hann_window(SPEC)
    hertz = np.linspace(0, SPEC.sample_rate / 2, SPEC.n_fft // 2 + 1)
    envelope = lpc.spectrum(mel[None])[0, FRAME].numpy()
    predictor = predictor_of(lpc, mel)
    denominator = np.concatenate([[1.0], -predictor.coefficients[0, middle].numpy()])
    _, response = scipy.signal.freqz([math.exp(predictor.log_gain[0, middle])], denominator, hertz, fs=SPEC.sample_rate)
    level = lpc.window_power**0.5  # RMS of a bin of the windowed spectrum, for white noise of unit power
    spectra = {
        "spectrum": (np.abs(np.fft.rfft(frame.numpy(), SPEC.n_fft)), GREY),
        "envelope from the mel": (envelope, BLUE),
        f"LPC filter g / |A|, order {lpc.order}": (np.abs(response) * level, RED),
    }
    for name, (magnitude, colour) in spectra.items():
        axes.plot(hertz / 1000, 20 * np.log10(np.maximum(magnitude, 1e-6)), color=colour, label=name, linewidth=1.2)
    axes.set(title="one frame", xlabel="kHz", ylabel="dB", ylim=(-55, None))
    axes.legend(frameon=False, fontsize="small")


def show_samples(axes: Axes, wave: torch.Tensor, mel: torch.Tensor, lpc: LinearPrediction) -> None:
    """Signal, prediction and excitation around the middle of the frame."""
    padded = torch.nn.functional.pad(wave[: mel.shape[1] * SPEC.hop_length], (lpc.order, 0))[None]
    prediction = predictor_of(lpc, mel).predict(padded[:, :-1].unfold(1, lpc.order, 1)).mean[0]
    middle = round((FRAME + 0.5) * SPEC.hop_length)
    shown = slice(middle - SAMPLES // 2, middle + SAMPLES // 2)
    milliseconds = 1000 * np.arange(SAMPLES) / SPEC.sample_rate
    x, p = wave[shown].numpy(), prediction[shown].numpy()
    offset = -1.4 * np.abs(x).max()
    axes.plot(milliseconds, x, color=GREY, linewidth=3, label="signal x")
    axes.plot(milliseconds, p, color=BLUE, linewidth=1, label="prediction p, from past samples")
    axes.plot(milliseconds, x - p + offset, color=RED, linewidth=1, label="scaled excitation x - p = g e")
    axes.axhline(offset, color=RED, linewidth=0.3)
    axes.set(title="30 ms around that frame", xlabel="milliseconds", ylabel="amplitude")
    axes.legend(frameon=False, fontsize="small", loc="upper right", ncols=3)


def predictor_of(lpc: LinearPrediction, mel: torch.Tensor) -> Predictor:
    """The filter at each sample of an utterance, from log-mel [n_mels, F]."""
    return lpc.predictor(lpc(extend_edges(mel[None], lpc.context_frames, lpc.context_frames)))


def training(curves: dict[str, dict[str, float]]) -> Figure:
    """Dev bits per sample of each network by training step."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for kind, label, colour in (("none", "no prediction", GREY), ("mel", "prediction from the mel", RED)):
        group = [curve for name, curve in curves.items() if name.startswith(kind)]
        for i, curve in enumerate(group):
            steps = [int(step) for step in curve]
            axes.plot(steps, [*curve.values()], color=colour, linewidth=1.2, label=None if i else label)
    axes.set(xlabel="steps of training", ylabel="dev bits per sample")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
