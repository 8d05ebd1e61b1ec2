"""The voice in the package is whole and small, speaks without a model being named, and can be made again."""

import shutil
from pathlib import Path

import numpy as np
import pystoi
import pytest
import soundfile

from scripts import fetch_voices, ship_voice
from vocoder import load
from vocoder.errors import UserError
from vocoder.features.audio import resample
from vocoder.features.mel import PRESETS
from vocoder.model import VocoderConfig, build_model, find_checkpoint, load_model, save_checkpoint
from vocoder.synthesis.vocoder import BUNDLED_VOICE

SPEECH = Path(__file__).parent / "speech/allison/hello-world.flac"  # a voice that it never heard


def test_the_voice_is_small_and_has_a_card() -> None:
    assert sum(file.stat().st_size for file in BUNDLED_VOICE.iterdir()) <= 8e6
    assert (BUNDLED_VOICE / "README.md").is_file()
    assert not (BUNDLED_VOICE / "train_state.pt").exists()


def test_a_copy_by_the_voice_is_intelligible() -> None:
    wave, rate = soundfile.read(SPEECH, dtype="float32")
    voice = load()
    assert voice.spec == PRESETS["hifigan_22k"]
    copy = voice.synthesize(voice.mel(wave, rate), fold=True)
    original = resample(wave, rate, voice.sample_rate)[: len(copy)]
    assert pystoi.stoi(original, copy, voice.sample_rate) > 0.9
    assert abs(20 * np.log10(copy.std() / original.std())) < 1.5  # dB


@pytest.fixture
def run(tmp_path: Path, tiny_config: VocoderConfig) -> Path:
    """A run with one checkpoint whose averaged weights are not those of the optimiser."""
    trained, averaged = (build_model(tiny_config).state_dict() for _ in range(2))
    weights = {"model": trained, "ema": averaged}
    save_checkpoint(tmp_path / "run/checkpoints/step-00000007", tiny_config, weights, {"step": 7, "dev_bits": 7.0}, {})
    return tmp_path / "run"


def test_what_is_shipped_has_the_averaged_weights_alone(run: Path, tmp_path: Path) -> None:
    voice = tmp_path / "voice"
    ship_voice.ship(run, voice)
    (voice / "README.md").write_text("a card")
    size = ship_voice.ship(run, voice)  # again, over the first
    assert size == sum(file.stat().st_size for file in voice.iterdir())
    assert (voice / "README.md").read_text() == "a card"
    names = {file.name for file in voice.iterdir()}
    assert names == {"README.md", "config.json", "manifest.json", "metrics.json", "model.safetensors"}
    expected = load_model(find_checkpoint(run)).state_dict()
    shipped = load_model(find_checkpoint(voice)).state_dict()
    assert all(np.array_equal(shipped[name], expected[name]) for name in expected)


def test_a_folder_of_something_else_is_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").touch()
    with pytest.raises(UserError, match="photos: is not a model directory"):
        ship_voice.ship(run, tmp_path / "photos")
    assert (tmp_path / "photos/cat.png").exists()


def test_recordings_are_taken_from_a_folder(tmp_path: Path) -> None:
    for name in fetch_voices.REPOSITORIES:
        (tmp_path / f"have/{name}/data").mkdir(parents=True)
        shutil.copy(SPEECH, tmp_path / f"have/{name}/data/a.flac")
        (tmp_path / f"have/{name}/LICENSE").write_text("CC0")
    for _ in range(2):  # the second time, nothing is to do
        counts = fetch_voices.fetch(tmp_path / "voices", tmp_path / "have")
        assert counts == {"kathleen": 1, "flemishguy": 1}
    assert sorted(file.name for file in (tmp_path / "voices/kathleen").iterdir()) == ["LICENSE", "a.flac"]


def test_a_folder_without_recordings_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "have/kathleen").mkdir(parents=True)
    with pytest.raises(UserError, match="kathleen: has no recordings"):
        fetch_voices.fetch(tmp_path / "voices", tmp_path / "have")
    assert not (tmp_path / "voices/kathleen").exists()
