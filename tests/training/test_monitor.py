"""What is written of a run is what TensorBoard and others read from it."""

import io
import json
import os
import signal
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vocoder.training import Monitor
from vocoder.training.interrupts import Interrupts

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


def test_sound_can_be_listened_to(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, 0)
    monitor.audio(7, "synthesized/a", WAVE, 16000)
    monitor.close()
    (sound,) = events(tmp_path).Audio("synthesized/a")
    heard, rate = soundfile.read(io.BytesIO(sound.encoded_audio_string), dtype="float32")
    assert (sound.step, rate) == (7, 16000)
    np.testing.assert_allclose(heard, WAVE, atol=2 / 32767)  # TensorBoard truncates


def test_mels_are_shown_below_each_other_in_colours_that_compare(tmp_path: Path) -> None:
    target = np.linspace(-8, 0, 80)[:, None] * np.ones((1, 50))
    monitor = Monitor(tmp_path, 0)
    monitor.mels(7, "same", {"target": target, "synthesized": target}, 0.0125)
    monitor.mels(7, "louder", {"target": target, "synthesized": target + 8}, 0.0125)
    monitor.close()
    pictures = {}
    for name in ("same", "louder"):
        (event,) = events(tmp_path).Images(name)
        pictures[name] = matplotlib.image.imread(io.BytesIO(event.encoded_image_string))[..., :3]
    height, width, _ = pictures["same"].shape
    axes = slice(width // 5, 3 * width // 5)
    upper, lower = (slice(height // 6, height // 3), slice(height // 2 + height // 6, height // 2 + height // 3))
    same, louder = pictures["same"], pictures["louder"]
    assert np.abs(same[upper, axes].mean((0, 1)) - same[lower, axes].mean((0, 1))).max() < 0.05
    assert np.abs(louder[upper, axes].mean((0, 1)) - louder[lower, axes].mean((0, 1))).max() > 0.2


def test_on_resume_nothing_is_told_twice(tmp_path: Path) -> None:
    write(tmp_path, 1, 9)
    write(tmp_path, 6, 8, resumed_at=5)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    assert [p.step for p in events(tmp_path).Scalars("bits/train")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_line_that_a_kill_cut_short_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, 1, 4)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "bits/tr')
    write(tmp_path, 4, 5, resumed_at=3)
    assert steps(tmp_path) == [1, 2, 3, 4]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_is_noted_and_gives_the_exit_code(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert interrupts.exit_code == 0
        os.kill(os.getpid(), number)
        assert interrupts.signal == number
        assert interrupts.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_twice_still_waits_for_the_save() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert interrupts.exit_code == 143
