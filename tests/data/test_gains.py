"""Levels: one gain for the corpus, each speaker or each recording, by loudness; and the filter before it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform, read_audio
from vocoder.features.level import Level
from vocoder.features.loudness import loudness
from vocoder.features.mel import PRESETS
from vocoder.settings import from_mapping

SPEECH = Path(__file__).parent.parent / "speech"
SPEC = PRESETS["speech_16k"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two speakers' clips, June's 20 dB below Allison's, and a recording that is at another scale."""
    for path in sorted(SPEECH.rglob("*.flac")):
        waveform, rate = read_audio(path)
        target = tmp_path / "in" / path.relative_to(SPEECH)
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, waveform * (0.1 if path.parent.name == "june" else 1), rate)
    soundfile.write(tmp_path / "in/june/integers.wav", 32768 * waveform, rate, subtype="FLOAT")
    return tmp_path / "in"


def make(root: Path, **settings: Any) -> Store:
    output = root.parent / "store"
    config = PreprocessConfig(SPEC, speaker="folder", **settings)
    preprocess(root, output, config, 0, lambda items, *_: items)
    return Store(output)


def waves(store: Store) -> dict[str, np.ndarray]:
    return {entry.id: int16_to_waveform(store.read(entry).wave) for entry in store.entries}


def lines(store: Store) -> dict[str, dict[str, Any]]:
    text = (store.directory / "manifest.jsonl").read_text(encoding="utf-8")
    return {line["id"]: line for line in map(json.loads, text.splitlines())}


def lufs(found: dict[str, np.ndarray], speaker: str = "") -> float:
    """Of all of a speaker's waves, one after another."""
    return loudness(np.concatenate([wave for id, wave in found.items() if id.startswith(speaker)]), SPEC.sample_rate)


def test_the_loudness_of_each_recording_is_the_given_one(corpus: Path) -> None:
    store = make(corpus, loudness=-26.0, loudness_of="recording")
    found = waves(store)
    assert len(found) == 12
    for wave in found.values():
        assert loudness(wave, SPEC.sample_rate) == pytest.approx(-26, abs=0.3)
    assert store.description["gain"] is None
    gains = {id: line["gain"] for id, line in lines(store).items() if line["status"] == "kept"}
    assert len(set(gains.values())) == 12
    assert "another scale" in lines(store)["june/integers"]["reason"]


def test_the_loudness_of_each_speaker_is_the_given_one(corpus: Path) -> None:
    found = make(corpus, loudness=-26.0, loudness_of="speaker")
    for speaker in ("allison", "june"):
        assert lufs(waves(found), speaker) == pytest.approx(-26, abs=0.5)
        assert len({line["gain"] for id, line in lines(found).items() if speaker in id and "gain" in line}) == 1


def test_the_loudness_of_the_corpus_is_the_given_one_by_one_gain(corpus: Path) -> None:
    store = make(corpus, loudness=-26.0)
    found = waves(store)
    for id, wave in found.items():
        original = read_audio(corpus / f"{id}.flac")[0][: len(wave)]
        assert np.abs(wave - store.description["gain"] * original).max() < 2**-14
    assert "gain" not in lines(store)["june/hello-world"]
    # Blocks count that pass the gates of their own recording, so that a quiet speaker counts more than in a concert.
    assert lufs(found, "june") < lufs(found, "allison") - 15
    assert -26 < lufs(found) < -22


def test_samples_that_the_gain_clips_are_counted(corpus: Path) -> None:
    description = make(corpus, loudness=-10.0, loudness_of="speaker").description
    assert description["clipped_samples"] > 100


def test_a_recording_without_loudness_is_skipped_where_it_needs_a_gain_of_its_own(corpus: Path) -> None:
    samples = np.zeros(48000)
    samples[24000] = 0.002
    soundfile.write(corpus / "june/click.wav", samples, 16000)
    assert (
        "too quiet for its loudness"
        in lines(make(corpus, loudness=-26.0, loudness_of="recording"))["june/click"]["reason"]
    )


def test_levels_are_measured_after_the_filter_and_the_stored_wave_is_filtered(corpus: Path) -> None:
    before = make(corpus)
    gain = before.description["gain"]
    before.directory.rename(corpus.parent / "before")
    for path in corpus.rglob("*.flac"):
        waveform, rate = read_audio(path)
        soundfile.write(path, waveform + 0.1, rate, subtype="PCM_24")
    after = make(corpus, highpass=20.0)
    assert after.description["gain"] == pytest.approx(gain, rel=0.02)
    assert after.description["level"]["highpass"] == 20
    for id, wave in waves(after).items():
        assert abs(wave.mean()) < 1e-4
        assert np.corrcoef(wave, waves(Store(corpus.parent / "before"))[id])[0, 1] > 0.995


def test_pieces_of_a_long_recording_are_filtered_as_they_were_measured(corpus: Path) -> None:
    store = make(corpus, highpass=60.0, peak=0.5, max_seconds=1.2)
    assert len(store.entries) > 12
    peaks = [np.abs(wave).max() for wave in waves(store).values()]
    assert np.percentile(peaks, 95) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"peak": None}, {"peak": 0.5}, {"loudness": -23.0}, {"loudness": -23.0, "loudness_of": "recording"}],
)
def test_the_store_says_how_its_level_was_set(corpus: Path, settings: dict[str, Any]) -> None:
    store = make(corpus, **settings)
    level = from_mapping(Level, store.description["level"])
    expected = {"peak": None if "loudness" in settings else 0.7} | settings
    assert {name: getattr(level, name) for name in expected} == expected
    assert level.gain == store.description["gain"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loudness": -23.0, "peak": 0.7}, r"loudness=-23: peak=0\.7 sets the level, too; leave peak out"),
        ({"loudness": 23.0}, "loudness=23: must be from -60 to 0 LUFS"),
        ({"loudness": float("nan")}, "loudness=nan: must be from -60 to 0 LUFS"),
        ({"loudness_of": "speaker"}, "loudness_of=speaker: give loudness=LUFS too"),
        ({"loudness": -23.0, "loudness_of": "speaker", "speaker": "none"}, "with speaker=none there are none"),
        ({"highpass": 0.0}, "highpass=0: must be above 0 and below 500 Hz"),
        ({"highpass": 500.0}, "highpass=500: must be above 0 and below 500 Hz"),
        ({"highpass": 20.0, "mels": "mels"}, "highpass=20: changes the recordings"),
        ({"loudness": -23.0, "mels": "mels"}, "loudness=-23: changes the recordings"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^.*{message}"):
        PreprocessConfig(SPEC, **settings)


def test_a_loudness_of_speakers_needs_speakers(corpus: Path) -> None:
    config = PreprocessConfig(SPEC, loudness=-23.0, loudness_of="speaker")
    with pytest.raises(UserError, match="loudness_of=speaker: no recording has a speaker; give speaker=folder"):
        preprocess(corpus, corpus.parent / "store", config, 0, lambda items, *_: items)
