"""Files whose headers state wrong sizes: what counts is whether the samples that are promised are there."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.errors import UserError
from vocoder.features.audio import read_audio, waveform_to_int16
from vocoder.features.audio_file import AudioFile
from vocoder.features.containers import find_sample_data

SAMPLES = np.random.default_rng(0).integers(-20000, 20000, 5000).astype(np.int16)
DATA = SAMPLES.astype("<i2").tobytes()
SIZE = len(DATA)


def wav(riff: int, data: int, content: bytes = DATA, after: bytes = b"", before: bytes = b"") -> bytes:
    """A 16-bit WAV file with these two sizes in its header."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", riff, b"WAVE")
        + form
        + before
        + struct.pack("<4sI", b"data", data)
        + content
        + after
    )


def encoded(format: str) -> bytearray:
    buffer = io.BytesIO()
    soundfile.write(buffer, SAMPLES, 16000, format=format, subtype="PCM_16")
    return bytearray(buffer.getvalue())


def with_sizes(format: str, sizes: dict[int, bytes]) -> bytes:
    """A file by libsndfile, with bytes replaced at some offsets."""
    content = encoded(format)
    for offset, size in sizes.items():
        content[offset : offset + len(size)] = size
    return bytes(content)


def data_size_offset(format: str, id: bytes) -> int:
    return encoded(format).index(id) + len(id)


def samples_of(path: Path) -> np.ndarray:
    return waveform_to_int16(read_audio(path)[0])


# Sizes (of the file, of the samples) that programs leave that cannot seek in their output
STREAMED = {
    "sox, MPlayer": (0x7FFFF024, 0x7FFFF000),
    "arecord": (0x7FFFFF24, 0x7FFFFF00),
    "arecord, endless": (0x80000024, 0x80000000),
    "ffmpeg": (0xFFFFFFFF, 0xFFFFFFFF),
    "zeros": (0, 0),
    "header alone": (36, 0),
    "header alone, counted": (44, 0),
    "largest positive": (0x7FFFFFFF, 0x7FFFFFDB),
    "minus header": (0xFFFFFFFF, 0xFFFFFFDB),
    "size of the file only": (36 + SIZE, 0),
    "size of the samples only": (0, 0xFFFFFFFF),
    "a multiple of 2^24": (0x7F000024, 0x7F000000),
}


@pytest.mark.parametrize("program", STREAMED)
@pytest.mark.parametrize("before", [b"", b"LIST\x04\0\0\0INFO"], ids=["plain", "after LIST"])
def test_a_streamed_wav_is_read_to_its_end(tmp_path: Path, program: str, before: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(wav(*STREAMED[program], before=before))
    np.testing.assert_array_equal(samples_of(tmp_path / "a.wav"), SAMPLES)


@pytest.mark.parametrize("riff", [44 + SIZE, 52 + SIZE, 36 + SIZE + 2**24, 36 + SIZE + 7, 4, 0, 2**31 - 1, 37])
def test_a_wrong_size_of_the_file_costs_nothing_where_the_samples_are_whole(tmp_path: Path, riff: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(riff, SIZE))
    np.testing.assert_array_equal(samples_of(tmp_path / "a.wav"), SAMPLES)


def test_a_chunk_after_the_samples_may_be_cut_or_lost(tmp_path: Path) -> None:
    after = b"LIST\x10\0\0\0INFOIART"
    for number, kept in enumerate((len(after), 9, 4, 0)):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(wav(36 + SIZE + 24, SIZE, after=after[:kept]))
        np.testing.assert_array_equal(samples_of(path), SAMPLES)


@pytest.mark.parametrize("missing", [1, 2, 100, SIZE - 2])
def test_a_wav_that_lacks_promised_samples_is_refused(tmp_path: Path, missing: int) -> None:
    for riff in (36 + SIZE, 36 + SIZE - missing, 0):
        (tmp_path / "a.wav").write_bytes(wav(riff, SIZE, DATA[:-missing]))
        with pytest.raises(UserError, match=rf"a\.wav: truncated .*{SIZE} bytes.* {SIZE - missing} are there"):
            read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("after", [b"", b"LIST\x04\0\0\0INFO", b"LIST\x04\0\0\0INFOid3 \x02\0\0\0ab"])
def test_a_wav_of_no_samples_is_not_taken_for_a_streamed_one(tmp_path: Path, after: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(wav(36 + len(after), 0, b"", after))
    with pytest.raises(UserError, match="no samples"):
        read_audio(tmp_path / "a.wav")


def test_a_streamed_wav_beyond_four_gigabytes_is_read_to_its_end(tmp_path: Path) -> None:
    """Six gigabytes in a sparse file, with sizes that have overflown, or are placeholders."""
    path = tmp_path / "long.wav"
    length = 6 * 2**30
    for stated in (length % 2**32, 0xFFFFFFFF, 0x7FFFF000, 0):
        with path.open("wb") as file:
            file.write(wav(stated, stated))
            file.truncate(44 + length)
        data = find_sample_data(path)
        assert data is not None
        assert (data.promised, data.available) == (None, length)
        with AudioFile(path) as audio:
            np.testing.assert_array_equal(waveform_to_int16(audio.read(0, 5000)), SAMPLES)
            assert len(audio.read(length // 2 - 10, None)) == 10


SIXTYFOUR = {"all ones": b"\xff" * 8, "zero": bytes(8)}
OTHERS: dict[str, Callable[[], bytes]] = {
    "AIFF zeros": lambda: with_sizes("AIFF", {4: bytes(4), 22: bytes(4), 42: bytes(4)}),
    "AIFF, no samples counted": lambda: with_sizes("AIFF", {4: bytes(4), 22: bytes(4), 42: b"\0\0\0\x08"}),
    "AIFF sox": lambda: with_sizes("AIFF", {4: b"\x7f\0\0\x36", 22: b"\x3f\x80\0\0", 42: b"\x7f\0\0\x08"}),
    "AU all ones": lambda: with_sizes("AU", {8: b"\xff" * 4}),
    "AU zero": lambda: with_sizes("AU", {8: bytes(4)}),
    **{
        f"CAF {name}": lambda size=size: with_sizes("CAF", {data_size_offset("CAF", b"data"): size})
        for name, size in SIXTYFOUR.items()
    },
    **{
        f"W64 {name}": lambda size=size: with_sizes("W64", {16: size, data_size_offset("W64", b"data") + 12: size})
        for name, size in SIXTYFOUR.items()
    },
    **{f"RF64 {name}": lambda size=size: with_sizes("RF64", {20: 3 * size}) for name, size in SIXTYFOUR.items()},
    "RIFX zeros": lambda: wav_big(0, 0),
    "RIFX all ones": lambda: wav_big(2**32 - 1, 2**32 - 1),
}


def wav_big(riff: int, data: int) -> bytes:
    form = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    content = SAMPLES.astype(">i2").tobytes()
    return struct.pack(">4sI4s", b"RIFX", riff, b"WAVE") + form + struct.pack(">4sI", b"data", data) + content


@pytest.mark.parametrize("case", OTHERS)
def test_other_streamed_formats_are_read_to_their_end(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.audio"
    path.write_bytes(OTHERS[case]())
    np.testing.assert_array_equal(samples_of(path), SAMPLES)


def test_a_streamed_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    content = encoded("FLAC")
    content[21] &= 0xF0  # the low four bits of 36, and four bytes: the number of samples
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    np.testing.assert_array_equal(samples_of(tmp_path / "a.flac"), SAMPLES)


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "CAF", "FLAC"])
def test_whole_files_are_read_and_cut_ones_refused_in_every_lossless_format(tmp_path: Path, format: str) -> None:
    content = bytes(encoded(format))
    path = tmp_path / "a.audio"
    path.write_bytes(content)
    np.testing.assert_array_equal(samples_of(path), SAMPLES)
    path.write_bytes(content[: len(content) - SIZE // 3])
    with pytest.raises(UserError, match=r"a\.audio: (truncated|not readable)"):
        read_audio(path)


def test_a_sphere_file_without_a_count_promises_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.sph"
    path.write_bytes(b"NIST_1A\n   1024\nend_head\n".ljust(1024) + DATA)
    assert find_sample_data(path) is None
    with pytest.raises(UserError):
        read_audio(path)


def test_files_that_are_no_container_promise_nothing(tmp_path: Path) -> None:
    for content in (b"", b"RIFF", b"RIFF\0\0\0\0WAVE", os.urandom(100), b"<!DOCTYPE html>" * 9):
        (tmp_path / "a").write_bytes(content)
        assert find_sample_data(tmp_path / "a") is None
