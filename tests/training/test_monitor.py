"""The logs of a run, as TensorBoard and others read them."""

import io
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vocoder.features.mel import PRESETS
from vocoder.training import Monitor

WAVE = (0.5 * np.sin(np.arange(800) / 5)).astype(np.float32)


def events(directory: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(directory / "tensorboard"))
    accumulator.Reload()
    return accumulator


def steps(directory: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (directory / "log.jsonl").read_text().splitlines()]


def write(directory: Path, first: int, last: int, resumed_at: int = 0) -> None:
    monitor = Monitor(directory, resumed_at)
    for step in range(first, last):
        monitor.scalars(step, {"bits/train": step / 3})
    monitor.close()


def test_scalars_are_in_the_log_and_in_tensorboard(tmp_path: Path) -> None:
    write(tmp_path, 1, 4)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": step, "bits/train": step / 3} for step in (1, 2, 3)]
    points = events(tmp_path).Scalars("bits/train")
    assert [(p.step, p.value) for p in points] == [(s, pytest.approx(s / 3)) for s in (1, 2, 3)]


def test_audio_is_in_tensorboard(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, 0)
    monitor.audio(7, "synthesized/a", WAVE, 16000)
    monitor.close()
    (event,) = events(tmp_path).Audio("synthesized/a")
    wave, rate = soundfile.read(io.BytesIO(event.encoded_audio_string), dtype="float32")
    assert (event.step, rate) == (7, 16000)
    np.testing.assert_allclose(wave, WAVE, atol=2 / 32767)  # TensorBoard truncates


def test_pictures_are_in_tensorboard(tmp_path: Path) -> None:
    spec = PRESETS["speech_16k"]
    target = (0.1 * np.sin(np.arange(8000))).astype(np.float32)
    monitor = Monitor(tmp_path, 0)
    for name, wave in (("same", target), ("louder", 4 * target)):
        monitor.pictures(7, name, {"target": target, "synthesized": wave}, spec)
    monitor.close()
    images = {}
    for name in ("same", "louder"):
        (event,) = events(tmp_path).Images(name)
        assert event.step == 7
        images[name] = matplotlib.image.imread(io.BytesIO(event.encoded_image_string))
    assert np.abs(images["same"] - images["louder"]).mean() > 0.01


def test_on_resume_nothing_is_logged_twice(tmp_path: Path) -> None:
    write(tmp_path, 1, 9)
    write(tmp_path, 6, 8, resumed_at=5)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    assert [p.step for p in events(tmp_path).Scalars("bits/train")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_truncated_last_line_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, 1, 4)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "bits/tr')
    write(tmp_path, 4, 5, resumed_at=3)
    assert steps(tmp_path) == [1, 2, 3, 4]
