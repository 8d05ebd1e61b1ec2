"""The pictures of docs/linear-prediction.md.

    python -m scripts.figures.figures_linear_prediction [COMPARISON]

The idea, on a recording of tests/speech; and, where COMPARISON is a folder that compare_linear_prediction.py filled,
 dev bits per sample in training.
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
from vocoder.model.linear_prediction import LinearPrediction, default_order

matplotlib.use("agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent.parent
SPEC = PRESETS["speech_16k"]
RECORDING, FRAME = ROOT / "tests/speech/allison/please-try-again.flac", 52  # in a vowel
SAMPLES = 480  # 30 ms around the middle of the frame
GREY, BLUE, RED = "0.6", "#1f5fa8", "#c0392b"


def main() -> None:
    idea().savefig(ROOT / "docs/figures/linear-prediction.png", dpi=130)
    if len(sys.argv) > 1:
        curves = json.loads((Path(sys.argv[1]) / "curves.json").read_text(encoding="utf-8"))
        training(curves).savefig(ROOT / "docs/figures/linear-prediction-training.png", dpi=130)


def idea() -> Figure:
    """Mel; envelope and filter of one frame; signal, prediction and residual around it."""
    wave = torch.from_numpy(read_audio(RECORDING)[0])
    mel = log_mel(wave, SPEC)
    prediction = LinearPrediction(SPEC, default_order(SPEC.sample_rate), updates=8)
    figure = Figure(figsize=(10, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1, 1.1])
    show_mel(figure.add_subplot(grid[0, 0]), mel)
    show_frame(figure.add_subplot(grid[0, 1]), wave, mel, prediction)
    show_samples(figure.add_subplot(grid[1, :]), wave, mel, prediction)
    return figure


def show_mel(axes: Axes, mel: torch.Tensor) -> None:
    seconds = mel.shape[1] * SPEC.hop_length / SPEC.sample_rate
    axes.imshow(mel, origin="lower", aspect="auto", extent=(0, seconds, 0, SPEC.n_mels), cmap="magma")
    axes.axvline((FRAME + 0.5) * SPEC.hop_length / SPEC.sample_rate, color="white", linewidth=1)
    axes.set(title="the mel: all that is known beforehand", xlabel="seconds", ylabel="mel band")


def show_frame(axes: Axes, wave: torch.Tensor, mel: torch.Tensor, prediction: LinearPrediction) -> None:
    """The frame's spectrum, the spectrum that its mel holds, and the response of the filter made from that."""
    middle = round((FRAME + 0.5) * SPEC.hop_length)
    frame = wave[middle - SPEC.win_length // 2 : middle + SPEC.win_length // 2] * hann_window(SPEC)
    hertz = np.linspace(0, SPEC.sample_rate / 2, SPEC.n_fft // 2 + 1)
    envelope = prediction.spectrum(mel[None])[0, FRAME].numpy()
    whole = prediction(extend_edges(mel[None], 1, 1))
    denominator = np.concatenate([[1.0], -whole.coefficients[0, middle].numpy()])
    _, response = scipy.signal.freqz([math.exp(whole.log_gain[0, middle])], denominator, hertz, fs=SPEC.sample_rate)
    level = prediction.window_power**0.5  # of white noise of unit power in a bin of the windowed spectrum
    spectra = {
        "spectrum": (np.abs(np.fft.rfft(frame.numpy(), SPEC.n_fft)), GREY),
        "what the mel holds of it": (envelope, BLUE),
        f"filter g / |A|, order {prediction.order}": (np.abs(response) * level, RED),
    }
    for name, (magnitude, colour) in spectra.items():
        axes.plot(hertz / 1000, 20 * np.log10(np.maximum(magnitude, 1e-6)), color=colour, label=name, linewidth=1.2)
    axes.set(title="one frame", xlabel="kHz", ylabel="dB", ylim=(-55, None))
    axes.legend(frameon=False, fontsize="small")


def show_samples(axes: Axes, wave: torch.Tensor, mel: torch.Tensor, prediction: LinearPrediction) -> None:
    whole = prediction(extend_edges(mel[None], 1, 1))
    padded = torch.nn.functional.pad(wave[: mel.shape[1] * SPEC.hop_length], (prediction.order, 0))[None]
    foretold = whole.predict(padded[:, :-1].unfold(1, prediction.order, 1))[0]
    middle = round((FRAME + 0.5) * SPEC.hop_length)
    shown = slice(middle - SAMPLES // 2, middle + SAMPLES // 2)
    milliseconds = 1000 * np.arange(SAMPLES) / SPEC.sample_rate
    x, p = wave[shown].numpy(), foretold[shown].numpy()
    offset = -1.4 * np.abs(x).max()
    axes.plot(milliseconds, x, color=GREY, linewidth=3, label="signal x")
    axes.plot(milliseconds, p, color=BLUE, linewidth=1, label="prediction p, from the samples before")
    axes.plot(milliseconds, x - p + offset, color=RED, linewidth=1, label="residual x - p: what the network models")
    axes.axhline(offset, color=RED, linewidth=0.3)
    axes.set(title="30 ms around that frame", xlabel="milliseconds", ylabel="amplitude")
    axes.legend(frameon=False, fontsize="small", loc="upper right", ncols=3)


def training(curves: dict[str, dict[str, float]]) -> Figure:
    """Dev bits per sample of each network over its steps."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for kind, label, colour in (("none", "no prediction", GREY), ("mel", "prediction from the mel", RED)):
        ours = [curve for name, curve in curves.items() if name.startswith(kind)]
        for i, curve in enumerate(ours):
            steps = [int(step) for step in curve]
            axes.plot(steps, [*curve.values()], color=colour, linewidth=1.2, label=None if i else label)
    axes.set(xlabel="steps of training", ylabel="dev bits per sample")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
