"""Pictures of waves and mels: figures with axes for papers and TensorBoard, and bare panels for the report's page.

T samples, F frames, n_mels bands.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vocoder.evaluation.results import Artefact, Evaluation
from vocoder.features.mel import MelSpec
from vocoder.files import atomic_write
from vocoder.report.waves import load_waves

RANGE_DB = 80.0  # of a mel's colours, down from the loudest value in any of the mels
DIFFERENCE_DB = 20.0  # at either end of the colours of a difference
MEL_COLOURS = "magma"
DIFFERENCE_COLOURS = "RdBu_r"  # red where a rendition is louder than the original
LEVELS = 64  # of colour in a panel: steps of 1.3 dB, which no eye sees; twice as many make its file a third larger
WAVE_COLOUR = (74, 127, 181)  # RGB; at least 3:1 against a light and against a dark page
WAVE_SIZE = (1200, 96)  # pixels
HATCHES = {"click": "", "clipping": "////", "collapse": "xx"}


def mel_limits(mels: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The range of colours, in dB, that all mels [n_mels, F] of an utterance share."""
    high = max(float(mel.max()) for mel in mels.values())
    return high - RANGE_DB, high


# Bare panels


def mel_panel(mel: np.ndarray, limits: tuple[float, float]) -> bytes:
    """A mel [n_mels, F] as a PNG of a pixel per value, low frequencies at the bottom."""
    return _panel(mel, limits, MEL_COLOURS)


def difference_panel(mel: np.ndarray, reference: np.ndarray) -> bytes:
    """The difference in dB of a mel [n_mels, F] from the reference's, as `mel_panel`."""
    return _panel(mel - reference, (-DIFFERENCE_DB, DIFFERENCE_DB), DIFFERENCE_COLOURS)


def wave_panel(wave: np.ndarray, peak: float) -> bytes:
    """A waveform [T] as a PNG with a transparent background; full height is -peak to peak."""
    width, height = WAVE_SIZE
    low, high = envelope(wave, width)
    scale = (height - 1) / 2 / max(peak, 1e-9)
    rows = np.arange(height)[:, None]
    centre = (height - 1) / 2
    drawn = (rows >= np.floor(centre - high * scale)) & (rows <= np.ceil(centre - low * scale))
    image = Image.fromarray(drawn.astype(np.uint8))
    image.putpalette([255, 255, 255, *WAVE_COLOUR])
    return _png(image, transparency=0)


def envelope(wave: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest sample [columns] in each of as many equal spans of a wave [T]."""
    edges = np.linspace(0, len(wave), columns + 1)
    starts, stops = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    spans = [wave[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return np.array([span.min() for span in spans]), np.array([span.max() for span in spans])


def gradient(colours: str, stops: int = 9) -> str:
    """A colour scale as a CSS gradient, low values at the left."""
    values = (colormaps[colours](np.linspace(0, 1, stops))[:, :3] * 255).round().astype(int)
    return "linear-gradient(to right, " + ", ".join(f"rgb({r} {g} {b})" for r, g, b in values) + ")"


def _panel(values: np.ndarray, limits: tuple[float, float], colours: str) -> bytes:
    low, high = limits
    index = np.rint((values[::-1] - low) / (high - low) * (LEVELS - 1)).clip(0, LEVELS - 1)
    image = Image.fromarray(np.ascontiguousarray(index, np.uint8))
    palette = (colormaps[colours](np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8)
    image.putpalette(palette.flatten().tolist())
    return _png(image)


def _png(image: Image.Image, **options: int) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True, **options)
    return encoded.getvalue()


# Figures with axes


def figure_of(
    waves: Mapping[str, np.ndarray],
    mels: Mapping[str, np.ndarray],
    spec: MelSpec,
    artefacts: Mapping[str, Sequence[Artefact]] | None = None,
) -> Figure:
    """A figure of renditions one below the other: waveform and mel, and the difference from the first one's mel.

    Args:
        waves: by title, [T] in [-1, 1] at the spec's rate, all of one length.
        mels: by the same titles, log-mels [n_mels, F] in dB.
        artefacts: by title, what is marked in the waveform.
    """
    rows = [(title, kind) for title in waves for kind in ("wave", "mel", "difference")][:]
    rows.remove((next(iter(waves)), "difference"))
    heights = {"wave": 0.7, "mel": 1.3, "difference": 1.1}
    figure = Figure(figsize=(8, 0.4 + sum(heights[kind] for _, kind in rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(rows), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [heights[kind] for _, kind in rows]}
    )
    peak = max(float(np.abs(wave).max()) for wave in waves.values()) or 1.0
    reference, limits = next(iter(mels.values())), mel_limits(mels)
    for axes, (title, kind) in zip(grid[:, 0], rows, strict=True):
        if kind == "wave":
            _draw_wave(axes, waves[title], spec.sample_rate, peak)
            _mark(axes, (artefacts or {}).get(title, ()), peak)
            axes.set_title(title, loc="left", fontsize="medium", parse_math=False)
        elif kind == "mel":
            _draw_mel(axes, mels[title], spec, limits, MEL_COLOURS, "dB")
        else:
            difference = mels[title] - reference
            _draw_mel(axes, difference, spec, (-DIFFERENCE_DB, DIFFERENCE_DB), DIFFERENCE_COLOURS, "difference, dB")
    grid[-1, 0].set_xlabel("seconds")
    return figure


def _draw_wave(axes: Axes, wave: np.ndarray, sample_rate: int, peak: float) -> None:
    low, high = envelope(wave, min(len(wave), WAVE_SIZE[0]))
    times = np.linspace(0, len(wave) / sample_rate, len(low))
    axes.fill_between(times, low, high, color=np.array(WAVE_COLOUR) / 255, linewidth=0.4)
    axes.set(ylim=(-peak, peak), xlim=(0, len(wave) / sample_rate))


def _mark(axes: Axes, artefacts: Sequence[Artefact], peak: float) -> None:
    """A hatched span, or a line if it is short, with the kind's name at the first of its kind."""
    named: set[str] = set()
    for artefact in artefacts:
        axes.axvspan(
            *(artefact.start, artefact.stop),
            facecolor="none",
            edgecolor="black",
            linewidth=0.8,
            hatch=HATCHES.get(artefact.kind, ".."),
        )
        if artefact.kind not in named:
            named.add(artefact.kind)
            axes.text(artefact.start, peak, f" {artefact.kind}", va="top", fontsize="x-small")


def _draw_mel(
    axes: Axes, mel: np.ndarray, spec: MelSpec, limits: tuple[float, float], colours: str, label: str
) -> None:
    extent = (0.0, mel.shape[1] * spec.hop_length / spec.sample_rate, 0.0, float(mel.shape[0]))
    low, high = limits
    image = axes.imshow(
        mel, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap=colours, rasterized=True
    )
    axes.set_ylabel("mel band")
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(image, ax=axes, label=label)


def save_pictures(
    folder: Path, evaluation: Evaluation, *, format: Literal["png", "pdf", "svg"] = "pdf"
) -> list[Path]:
    """Write a figure of each utterance below `folder / "figures"`; return their paths.

    Raises:
        UserError: a wav cannot be read, or a figure cannot be written.
    """
    systems = [system.name for system in evaluation.systems]
    paths = []
    for number, utterance in enumerate(evaluation.utterances, 1):
        found = load_waves(folder, utterance, systems)
        artefacts = {name: rendition.artefacts for name, rendition in utterance.renditions.items()}
        figure = figure_of(found.waves, found.mels, found.spec, artefacts)
        figure.suptitle(utterance.id, fontsize="medium", parse_math=False)
        paths.append(folder / "figures" / f"{number:04d}-{safe_name(utterance.id)}.{format}")
        _save(figure, paths[-1], format)
    return paths


def _save(figure: Figure, path: Path, format: str) -> None:
    with atomic_write(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # an id in a script that the font lacks
        figure.savefig(partial, format=format, dpi=150)


def safe_name(id: str) -> str:
    """A part of a file's name for an id with any characters: what is readable of it, and a hash that is its own."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", id).strip("-")[:40]
    digest = hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest
