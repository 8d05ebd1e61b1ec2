"""Audio files read block by block: as a whole, in parts, and whatever their bytes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vocoder.errors import UserError
from vocoder.features import audio_file
from vocoder.features.audio import read_audio
from vocoder.features.audio_file import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES, AudioFile

FORMATS = {  # suffix: format and subtype of libsndfile
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_24"),
    ".caf": ("CAF", "FLOAT"),
    ".w64": ("W64", "PCM_16"),
    ".au": ("AU", "ULAW"),
    ".sph": ("NIST", "PCM_16"),
    ".rf64": ("RF64", "PCM_16"),
}
RATE = 16000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three seconds of a sweep on the left channel and noise on the right, in each format."""
    folder = tmp_path_factory.mktemp("formats")
    time = np.arange(3 * RATE) / RATE
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 300 * time) * time)
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, len(time))
    for suffix, (format, subtype) in FORMATS.items():
        soundfile.write(folder / f"a{suffix}", np.stack([sweep, noise], 1), RATE, format=format, subtype=subtype)
    return {suffix: folder / f"a{suffix}" for suffix in FORMATS}


@pytest.mark.parametrize("suffix", FORMATS)
def test_blocks_make_the_whole_that_libsndfile_reads_at_once(
    files: dict[str, Path], suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_file, "BLOCK_VALUES", 1234)
    expected = soundfile.read(files[suffix], dtype="float32", always_2d=True)[0].mean(1)
    with AudioFile(files[suffix]) as file:
        blocks = list(file.blocks())
    assert max(map(len, blocks)) <= 617
    np.testing.assert_allclose(np.concatenate(blocks), expected, rtol=0, atol=1e-7)  # mp3s are rounded differently
    assert suffix in AUDIO_SUFFIXES


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".caf", ".w64"])
def test_parts_of_a_file_are_those_of_the_whole(
    files: dict[str, Path], suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_file, "BLOCK_VALUES", 1000)
    whole, _ = read_audio(files[suffix])
    for start, stop in ((0, 20000), (20000, 20001), (20001, 40000), (0, 90000)):
        with AudioFile(files[suffix]) as file:
            np.testing.assert_allclose(file.read(start, stop), whole[start:stop], atol=1e-6)


def test_a_part_of_a_file_that_cannot_seek_is_read_all_the_same(files: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(files[".flac"].read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # a length of 0: unknown
    (tmp_path / "a.flac").write_bytes(content)
    whole, _ = read_audio(files[".flac"])
    with AudioFile(tmp_path / "a.flac") as file:
        np.testing.assert_array_equal(file.read(30000, 40000), whole[30000:40000])
        assert np.array_equal(file.read(1, 3), whole[1:3])


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_a_rate_that_no_speech_has_is_refused(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), rate)
    with pytest.raises(UserError, match=rf"states {rate} Hz"):
        read_audio(tmp_path / "a.wav")


def test_no_format_is_both_read_and_not_read() -> None:
    assert not set(AUDIO_SUFFIXES) & set(OTHER_AUDIO_SUFFIXES)


def test_a_header_that_ends_too_soon_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RF64\xff\xff\xff\xffWAVEds64" + (28).to_bytes(4, "little"))
    with pytest.raises(UserError, match=r"a\.wav: not readable as audio"):
        AudioFile(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused_and_never_anything_else(
    files: dict[str, Path], tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    content = bytearray(files[suffix].read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(len(content), 300) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content[:cut])
    try:
        waveform, refusal = read_audio(path)[0], None
    except UserError as error:
        waveform, refusal = np.zeros(1, np.float32), str(error)
    assert refusal is None or (str(path) in refusal and "\n" not in refusal)
    assert waveform.dtype == np.float32
    assert np.isfinite(waveform).all()
