"""The picture at the top of README.md: a mel, its wave, and the linear prediction between them.

    python -m scripts.figures.figures_overview

Drawn from a recording of tests/speech; no network takes part.
"""

from pathlib import Path

import matplotlib
import numpy as np
import torch

from vocoder.features.audio import read_audio
from vocoder.features.mel import PRESETS, log_mel
from vocoder.model import extend_edges
from vocoder.model.linear_prediction import LinearPrediction, default_order

matplotlib.use("agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

ROOT = Path(__file__).parent.parent.parent
SPEC = PRESETS["speech_16k"]
RECORDING = ROOT / "tests/speech/allison/please-try-again.flac"
ZOOM = (0.640, 0.670)  # seconds; in a vowel
GREY, BLUE, RED = "0.6", "#1f5fa8", "#c0392b"


def main() -> None:
    overview().savefig(ROOT / "docs/figures/overview.png", dpi=120)


def overview() -> Figure:
    """Mel and wave on one time axis; 30 ms of the wave with its linear prediction and the error."""
    wave = torch.from_numpy(read_audio(RECORDING)[0])
    mel = log_mel(wave, SPEC)
    samples = wave[: mel.shape[1] * SPEC.hop_length].numpy()
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=[1.0, 0.6, 1.1])
    top, middle, bottom = (figure.add_subplot(grid[row]) for row in range(3))
    show_mel(top, mel.numpy())
    show_wave(middle, samples)
    show_zoom(bottom, samples, predicted(samples, mel))
    connect(figure, middle, bottom)
    return figure


def predicted(samples: np.ndarray, mel: torch.Tensor) -> np.ndarray:
    """The linear prediction p [T] of each sample from the true samples before it; 0 where there are too few."""
    order = default_order(SPEC.sample_rate)
    prediction = LinearPrediction(SPEC, order, updates=8)
    filters = prediction(extend_edges(mel[None], 1, 1))
    mean = prediction.predict(torch.from_numpy(samples)[None], filters, first=order).mean[0]
    return np.pad(mean.numpy(), (order, 0))


def show_mel(axes: Axes, mel: np.ndarray) -> None:
    seconds = mel.shape[1] * SPEC.hop_length / SPEC.sample_rate
    axes.imshow(mel, origin="lower", aspect="auto", extent=(0, seconds, 0, SPEC.n_mels), cmap="magma")
    axes.set(ylabel="mel band", xticks=[])
    axes.set_title("in: a mel-spectrogram", loc="left", fontsize="medium")


def show_wave(axes: Axes, samples: np.ndarray) -> None:
    time = np.arange(len(samples)) / SPEC.sample_rate
    axes.plot(time, samples, color="0.3", linewidth=0.5)
    axes.axvspan(*ZOOM, color=BLUE, alpha=0.25, linewidth=0)
    axes.set(xlim=(0, time[-1]), ylabel="amplitude")
    axes.xaxis.set_major_formatter("{x:g} s")
    axes.set_title("out: its waveform, one sample after another", loc="left", fontsize="medium")


def show_zoom(axes: Axes, samples: np.ndarray, prediction: np.ndarray) -> None:
    first, last = (round(second * SPEC.sample_rate) for second in ZOOM)
    time, x, p = 1000 * np.arange(last - first) / SPEC.sample_rate, samples[first:last], prediction[first:last]
    offset = -1.5 * np.abs(x).max()
    axes.plot(time, x, color=GREY, linewidth=3, label="samples x")
    axes.plot(time, p, color=BLUE, linewidth=1, label="linear prediction p: filter from the mel, past samples")
    axes.plot(time, x - p + offset, color=RED, linewidth=1, label="prediction error x - p: what the network models")
    axes.set(xlim=(0, time[-1]), ylim=(1.3 * offset, 1.9 * x.max()), yticks=[])
    axes.xaxis.set_major_formatter("{x:g} ms")
    axes.legend(frameon=False, fontsize="small", loc="upper center", ncols=3)


def connect(figure: Figure, wide: Axes, zoomed: Axes) -> None:
    """Lines from the marked part of the wave to the corners of its enlargement."""
    for second, corner in zip(ZOOM, (0, 1), strict=True):
        line = ConnectionPatch(
            (second, wide.get_ylim()[0]), (corner, 1), wide.transData, zoomed.transAxes, color=BLUE, alpha=0.4
        )
        line.set_in_layout(False)
        figure.add_artist(line)


if __name__ == "__main__":
    main()
