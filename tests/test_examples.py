"""The examples run as they are, on a model and a recording."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.features.mel import PRESETS
from vocoder.model import VocoderConfig, build_model
from vocoder.model.checkpoint import save_checkpoint

ROOT = Path(__file__).parent.parent
RECORDING = ROOT / "tests/speech/allison/hello-world.flac"


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
def test_copy_synthesis_writes_a_copy_and_says_how_fast_it_was(
    tiny_config: VocoderConfig, tmp_path: Path, channels: int
) -> None:
    config = replace(tiny_config, mel=PRESETS["speech_16k"])
    weights = build_model(config).state_dict()
    save_checkpoint(tmp_path / "model", config, {"model": weights}, {"step": 0, "dev_bits": None})
    wave, rate = soundfile.read(RECORDING)
    wave = wave[: rate // 5]
    soundfile.write(tmp_path / "speech.wav", np.stack([wave] * channels, axis=1), rate)
    command = [sys.executable, ROOT / "examples/copy_synthesis.py", "model", "speech.wav", "copy.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    copy = soundfile.info(tmp_path / "copy.wav")
    hop = config.mel.hop_length
    assert (copy.samplerate, copy.channels, copy.frames) == (config.mel.sample_rate, 1, rate // 5 // hop * hop)
    words = re.fullmatch(r"(.*) s of speech in (.*) s: real-time factor (.*)\n", done.stdout)
    assert words is not None
    duration, elapsed, factor = map(float, words.groups())
    assert duration == pytest.approx(copy.duration, abs=0.005)
    assert factor == pytest.approx(elapsed / duration, abs=0.1)
