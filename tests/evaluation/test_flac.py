"""Bits per sample in FLAC, against the entropy of what is coded."""

from io import BytesIO

import numpy as np
import pytest
import soundfile

from vocoder.evaluation.flac import flac_bits


def test_silence_needs_next_to_nothing() -> None:
    assert 0 < flac_bits(np.zeros(160000, np.int16), 16000) < 0.05


def test_uniform_noise_needs_all_of_its_bits() -> None:
    wave = np.random.default_rng(0).integers(-32768, 32768, 100000).astype(np.int16)
    assert 16 <= flac_bits(wave, 16000) < 16.1


@pytest.mark.parametrize("deviation", [10.0, 100.0, 3000.0])
def test_gaussian_noise_needs_little_more_than_its_entropy(deviation: float) -> None:
    wave = np.rint(deviation * np.random.default_rng(0).standard_normal(200000)).astype(np.int16)
    entropy = np.log2(deviation * np.sqrt(2 * np.pi * np.e))
    assert entropy - 0.01 < flac_bits(wave, 16000) < entropy + 0.25  # the Rice code's part


@pytest.mark.parametrize("samples", [1, 1000, 30000])
def test_only_the_metadata_is_left_out(samples: int) -> None:
    wave = np.random.default_rng(0).integers(-99, 100, samples).astype(np.int16)
    file = BytesIO()
    soundfile.write(file, wave, 22050, format="FLAC", subtype="PCM_16", compression_level=1.0)
    whole = 8 * len(file.getvalue())
    metadata = whole - flac_bits(wave, 22050) * samples
    assert 8 * 42 <= metadata < 8 * 10000  # marker and stream information are 42 bytes; padding and tags vary
    assert file.getvalue()[round(metadata / 8) :][:2] in (b"\xff\xf8", b"\xff\xf9")  # the sync code of a frame


@pytest.mark.parametrize("wave", [np.zeros(0, np.int16), np.zeros(9, np.float32)])
def test_what_has_no_16_bit_samples_is_refused(wave: np.ndarray) -> None:
    with pytest.raises(ValueError, match="int16"):
        flac_bits(wave, 16000)
