"""Sounds and pictures inside the page and beside it."""

import base64
import io
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from vocoder.evaluation.results import Evaluation
from vocoder.report.media import MediaWriter, flac, relative_uri


def writer_of(folder: Path, evaluation: Evaluation, room: int) -> MediaWriter:
    return MediaWriter(folder, [system.name for system in evaluation.systems], "original", room)


def test_a_sound_inside_is_the_wav_to_the_bit(example: tuple[Path, Evaluation]) -> None:
    folder, evaluation = example
    utterance = evaluation.utterances[1]
    media = writer_of(folder, evaluation, 10**9).media(utterance)
    for name, rendition in utterance.renditions.items():
        head, data = media["versions"][name]["audio"].split(",")
        assert head == "data:audio/flac;base64"
        samples, sample_rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
        expected, expected_rate = soundfile.read(folder / rendition.wav, dtype="int16")
        assert sample_rate == expected_rate
        assert (samples == expected).all()


def test_flac_is_shorter_than_the_wav_and_keeps_the_extremes() -> None:
    wave = np.array([-1.0, 32767 / 32768, 0.0] * 100, np.float32)
    samples, _ = soundfile.read(io.BytesIO(flac(wave, 22050)), dtype="int16")
    assert samples[:3].tolist() == [-32768, 32767, 0]


def test_the_room_is_never_overdrawn_and_an_utterance_is_never_divided(example: tuple[Path, Evaluation]) -> None:
    folder, evaluation = example
    all_inside = writer_of(folder, evaluation, 10**9)
    sizes = []
    for utterance in evaluation.utterances:
        before = all_inside.room
        all_inside.media(utterance)
        sizes.append(before - all_inside.room)
    room = sizes[0] + sizes[1] + 10
    writer = writer_of(folder, evaluation, room)
    inside = [writer.media(utterance) for utterance in evaluation.utterances]
    assert [media["inside"] for media in inside[:2]] == [True, True]
    assert writer.embedded == sum(media["inside"] for media in inside) < len(inside)
    used = sum(s for s, media in zip(sizes, inside, strict=True) if media["inside"])
    assert writer.room == room - used >= 0
    for media in inside:
        uris = [value for v in media["versions"].values() for value in v.values() if isinstance(value, str)]
        assert all(uri.startswith("data:") == media["inside"] for uri in uris)


def test_addresses_of_files_lead_to_them(example: tuple[Path, Evaluation]) -> None:
    folder, evaluation = example
    writer = writer_of(folder, evaluation, 0)
    for utterance in evaluation.utterances:
        for name, version in writer.media(utterance)["versions"].items():
            assert (folder / unquote(version["audio"])).samefile(folder / utterance.renditions[name].wav)
            assert (folder / version["mel"]).read_bytes().startswith(b"\x89PNG")
            assert ("difference" in version) == (name != "original")


@pytest.mark.parametrize(
    "path", ["wavs/a/b c&d\"e'.wav", "wavs/x?y#z%20.wav", "data:x.wav", "wavs/発話.wav", "a\udcff.wav"]
)
def test_any_path_has_an_address(path: str) -> None:
    address = relative_uri(path)
    assert unquote(address, errors="surrogateescape") == f"./{path}"
    assert address.isascii()
    assert not set(address) & set("?#<>\"' ")


def test_silence_has_no_loudness_and_a_louder_system_has_more(example: tuple[Path, Evaluation]) -> None:
    folder, evaluation = example
    versions = writer_of(folder, evaluation, 0).media(evaluation.utterances[2])["versions"]
    louder = versions["wavenet-large"]["loudness"] - versions["original"]["loudness"]
    assert louder == pytest.approx(20 * np.log10(1.3), abs=0.3)  # it is 1.3 times the original, and a click
