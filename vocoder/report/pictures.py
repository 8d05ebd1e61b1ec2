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
from matplotlib.image import AxesImage
from PIL import Image

from vocoder.evaluation.results import Artefact, Evaluation
from vocoder.features.mel import MelSpec
from vocoder.files import atomic_write
from vocoder.report.waves import load_waves

RANGE_DB = 80.0  # of a mel's colours, down from the loudest value in any of the mels
DIFFERENCE_DB = 20.0  # at either end of the colours of a difference
MEL_COLOURS = "magma"
DIFFERENCE_COLOURS = "RdBu_r"  # red where a rendition is louder than the original
LEVELS = 65  # of colour in a panel: steps of 1.3 dB, which no eye sees; an odd number, so that one is no difference
WAVE_COLOUR = (74, 127, 181)  # RGB; at least 3:1 against a light and against a dark page
WAVE_SIZE = (1200, 96)  # pixels
ROW_INCHES = {"wave": 0.6, "mel": 1.1, "difference": 0.9}
MARGIN_INCHES = {"left": 0.65, "right": 0.65, "top": 0.6, "bottom": 0.5}
HATCHES = {"click": "", "clipping": "////", "collapse": "xx"}


def mel_limits(mels: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The range of colours, in dB, that all mels [n_mels, F] of an utterance share."""
    high = max(float(mel.max()) for mel in mels.values())
    return high - RANGE_DB, high


def difference(mel: np.ndarray, reference: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """How far a mel [n_mels, F] is above the reference's, in dB; what is too faint to be seen in either is equal."""
    return np.maximum(mel, limits[0]) - np.maximum(reference, limits[0])


# Bare panels


def mel_panel(mel: np.ndarray, limits: tuple[float, float]) -> bytes:
    """A mel [n_mels, F] as a PNG of a pixel per value, low frequencies at the bottom."""
    return _panel(mel, limits, MEL_COLOURS)


def difference_panel(mel: np.ndarray, reference: np.ndarray, limits: tuple[float, float]) -> bytes:
    """The difference of a mel [n_mels, F] from the reference's, as `mel_panel`."""
    return _panel(difference(mel, reference, limits), (-DIFFERENCE_DB, DIFFERENCE_DB), DIFFERENCE_COLOURS)


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
    """The lowest and the highest sample [columns] in each of as many equal spans of a wave [T].

    A span includes the first sample of the next one, so that the curve is connected.
    """
    edges = np.linspace(0, len(wave), columns + 1)
    starts, stops = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int) + 1
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
    rows = [(title, kind) for title in waves for kind in ROW_INCHES]
    rows.remove((next(iter(waves)), "difference"))
    figure, grid = _empty_figure([ROW_INCHES[kind] for _, kind in rows])
    peak = max(float(np.abs(wave).max()) for wave in waves.values()) or 1.0
    reference, limits = next(iter(mels.values())), mel_limits(mels)
    scales: set[str] = set()  # that have been drawn
    for (axes, beside), (title, kind) in zip(grid, rows, strict=True):
        if kind == "wave":
            _draw_wave(axes, waves[title], spec.sample_rate, peak)
            _mark(axes, (artefacts or {}).get(title, ()), peak)
            axes.set_title(title, loc="left", fontsize="medium", parse_math=False)
        elif kind == "mel":
            image = _draw_mel(axes, mels[title], spec, limits, MEL_COLOURS)
        else:
            shown = difference(mels[title], reference, limits)
            image = _draw_mel(axes, shown, spec, (-DIFFERENCE_DB, DIFFERENCE_DB), DIFFERENCE_COLOURS)
        if kind == "wave" or kind in scales:
            beside.remove()
        else:
            scales.add(kind)
            figure.colorbar(image, cax=beside, label="dB" if kind == "mel" else "difference, dB")
    grid[-1, 0].set_xlabel("seconds")
    return figure


def _empty_figure(heights: Sequence[float]) -> tuple[Figure, np.ndarray]:
    """A figure with rows of axes [rows, 2], the second for colour scales; heights in inches.

    Margins are fixed: a layout that is computed takes longer than all drawing.
    """
    gap = 0.3
    inner = sum(heights) + gap * (len(heights) - 1)
    width, height = 8.0, inner + MARGIN_INCHES["top"] + MARGIN_INCHES["bottom"]
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(heights), 2, sharex="col", squeeze=False, height_ratios=heights, width_ratios=[60, 1])
    figure.subplots_adjust(
        left=MARGIN_INCHES["left"] / width,
        right=1 - MARGIN_INCHES["right"] / width,
        bottom=MARGIN_INCHES["bottom"] / height,
        top=1 - MARGIN_INCHES["top"] / height,
        hspace=gap / (sum(heights) / len(heights)),
        wspace=0.03,
    )
    return figure, grid


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
            edgecolor="dimgray",
            linewidth=0.8,
            hatch=HATCHES.get(artefact.kind, ".."),
        )
        if artefact.kind not in named:
            named.add(artefact.kind)
            label = axes.text(artefact.start, peak, f" {artefact.kind}", va="top", fontsize="x-small")
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.0})


def _draw_mel(axes: Axes, mel: np.ndarray, spec: MelSpec, limits: tuple[float, float], colours: str) -> AxesImage:
    extent = (0.0, mel.shape[1] * spec.hop_length / spec.sample_rate, 0.0, float(mel.shape[0]))
    axes.set_ylabel("mel band")
    return axes.imshow(
        mel, origin="lower", aspect="auto", extent=extent, vmin=limits[0], vmax=limits[1], cmap=colours, rasterized=True
    )


def save_pictures(folder: Path, evaluation: Evaluation, *, format: Literal["png", "pdf", "svg"] = "pdf") -> list[Path]:
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
        figure.suptitle(utterance.id, fontsize="medium", parse_math=False, va="top", y=1 - 0.1 / figure.get_figheight())
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
