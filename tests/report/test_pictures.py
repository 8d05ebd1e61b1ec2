"""Panels and figures show the values that they were given, at their place."""

import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from support.example_evaluation import SPEC

from vocoder.evaluation.results import Artefact, Evaluation
from vocoder.report.pictures import (
    difference,
    difference_panel,
    envelope,
    figure_of,
    mel_limits,
    mel_panel,
    safe_name,
    save_pictures,
    wave_panel,
)


def pixels(png: bytes, mode: str = "RGB") -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png)).convert(mode))


def test_a_mel_panel_has_a_pixel_for_each_value_with_low_bands_at_the_bottom() -> None:
    mel = np.full((4, 3), -80.0)
    mel[0, 2] = 0.0  # lowest band, last frame
    shown = pixels(mel_panel(mel, (-80.0, 0.0)))
    lowest, highest = (np.round(np.array(colormaps["magma"](end)[:3]) * 255) for end in (0.0, 1.0))
    assert shown.shape == (4, 3, 3)
    assert (shown[3, 2] == highest).all()
    assert (shown[0, 2] == lowest).all()


def test_a_difference_panel_is_red_where_a_mel_is_louder_and_blue_where_it_is_fainter() -> None:
    mel, reference = np.array([[-3.0, -37.0, -20.0]]), np.full((1, 3), -20.0)
    red, blue, equal = pixels(difference_panel(mel, reference, (-80.0, 0.0)))[0].astype(int)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert equal.min() > 230


def test_what_cannot_be_seen_in_either_mel_is_no_difference() -> None:
    assert difference(np.array([-100.0, -80.0]), np.array([-120.0, -60.0]), (-80.0, 0.0)).tolist() == [0.0, -20.0]


def test_all_mels_share_limits_of_80_db_below_the_loudest() -> None:
    assert mel_limits({"a": np.array([[-3.0, -50.0]]), "b": np.array([[-7.0]])}) == (-83.0, -3.0)


def test_an_envelope_contains_every_sample() -> None:
    wave = np.random.default_rng(0).normal(size=1003)
    low, high = envelope(wave, 100)
    for index, value in enumerate(wave):
        column = min(int(index * 100 / 1003), 99)
        assert low[column] <= value <= high[column]
    assert low.min() == wave.min()
    assert high.max() == wave.max()


@pytest.mark.parametrize("samples", [7, 1200, 5000])
def test_a_wave_panel_shows_a_single_click_at_its_place(samples: int) -> None:
    wave = np.zeros(samples, np.float32)
    wave[samples // 2] = 1.0
    opaque = pixels(wave_panel(wave, 1.0), "RGBA")[..., 3] > 0
    columns = np.flatnonzero(opaque[2])  # near the top, which only the click reaches
    assert columns.min() / 1200 <= (samples // 2 + 1) / samples
    assert columns.max() / 1200 >= (samples // 2 - 1) / samples
    assert len(columns) <= 2 * 1200 / samples + 2
    assert not opaque[90].any()


def test_a_silent_wave_is_a_line() -> None:
    opaque = pixels(wave_panel(np.zeros(100, np.float32), 0.0), "RGBA")[..., 3] > 0
    assert opaque.any(axis=1).sum() <= 2


def test_a_figure_shows_every_rendition_and_its_difference_from_the_first() -> None:
    mels = {"original": np.zeros((4, 5)), "$\\alpha$ <b>": np.full((4, 5), 3.0)}
    waves = {title: np.zeros(1000, np.float32) for title in mels}
    figure = figure_of(waves, mels, SPEC, {"$\\alpha$ <b>": [Artefact("click", 0.01, 0.011)]})
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert [float(image.mean()) for image in images] == [0.0, 3.0, 3.0]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == list(mels)
    assert "click" in [text.get_text().strip() for axes in figure.axes for text in axes.texts]
    figure.savefig(io.BytesIO(), format="png")  # a title is not taken for a formula


@pytest.mark.parametrize("format", ["png", "pdf", "svg"])
def test_pictures_are_saved_in_every_format(format: str, example: tuple[Path, Evaluation], tmp_path: Path) -> None:
    folder, evaluation = example
    one = replace(evaluation.utterances[0], id="発話 $x$")  # the font lacks these characters: no warning
    (tmp_path / "wavs").symlink_to(folder / "wavs")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of matplotlib's in fontTools
        (path,) = save_pictures(tmp_path, replace(evaluation, utterances=[one]), format=format)
    assert path.parent == tmp_path / "figures"
    assert path.read_bytes().lstrip().startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[format])


def test_names_of_files_are_safe_and_distinct() -> None:
    ids = ["a/b", "a b", "../../etc/passwd", "x" * 500, "<script>", "発話", "\udcff", "con", "a'\"&?#%"]
    names = [safe_name(id) for id in ids]
    assert len(set(names)) == len(ids)
    assert all(len(name) < 60 and all(c.isascii() and (c.isalnum() or c == "-") for c in name) for name in names)
