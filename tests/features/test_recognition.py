"""Mels of real speech in every preset, offered to a model of every other."""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder.errors import UserError
from vocoder.features.audio import read_audio, resample
from vocoder.features.mel import PRESETS, MelSpec, log_mel
from vocoder.features.mel_input import MelFormat, MelReader
from vocoder.features.recognition import MelStatistics, Reading, recognise

SPEECH = sorted((Path(__file__).parent.parent / "speech").rglob("*.flac"))
NAMES = [name for name in PRESETS if name != "speecht5"]  # which equals pwg_16k
# Presets whose values have one meaning up to a few dB: their mels cannot be told apart (docs/mels.md, the first table).
ALIKE = (
    {"hifigan_22k", "tacotron2_22k", "vits_22k", "speech_16k", "nemo_fastpitch", "speechbrain_16k"},
    {"pwg_16k", "pwg_22k", "pwg_24k", "r9y9"},
    {"rayhane", "coqui_default"},
    {"vocos_24k", "f5_vocos"},
    {"bigvgan_44k_256x", "bigvgan_44k_512x"},
)


@cache
def mels(name: str) -> list[np.ndarray]:
    spec = PRESETS[name]
    waves = (resample(*read_audio(path), spec.sample_rate) for path in SPEECH)
    return [log_mel(torch.from_numpy(wave), spec).numpy() for wave in waves]


@cache
def statistics(name: str) -> MelStatistics:
    """Of half of the recordings, of both speakers."""
    whole = np.concatenate(mels(name)[::2], 1).astype(np.float64)
    return MelStatistics(tuple(whole.mean(1)), tuple(whole.std(1)))


def louder(mel: np.ndarray, decibels: float, spec: MelSpec) -> np.ndarray:
    return np.clip(mel + decibels / 8.686 / spec.log_unit, spec.log_minimum, spec.log_maximum).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decibels", [-10, 0, 5])
def test_no_right_mel_is_refused(name: str, decibels: float) -> None:
    spec = PRESETS[name]
    reader = MelReader(spec, statistics(name), MelFormat(layout="bands_first"))
    for mel in mels(name):
        given = louder(mel, decibels, spec)
        assert np.array_equal(reader(given), given)


def are_alike(model: str, given: str) -> bool:
    return any({model, given} <= group for group in ALIKE)


@pytest.mark.parametrize(
    ("model", "given"), [(a, b) for a, b in product(NAMES, NAMES) if a != b and not are_alike(a, b)]
)
def test_a_mel_of_another_preset_is_refused_with_a_name(model: str, given: str) -> None:
    """docs/mels.md has 99 % at least; the few recordings here are all refused."""
    reader = MelReader(PRESETS[model], statistics(model), MelFormat(layout="bands_first"))
    messages = []
    for mel in mels(given)[1::2]:
        with pytest.raises(UserError) as refused:
            reader(mel)
        messages.append(str(refused.value))
    assert messages
    assert all("\n" not in message for message in messages)
    if PRESETS[model].n_mels == PRESETS[given].n_mels:
        assert all("looks like" in message or "made with another log" in message for message in messages)


@pytest.mark.parametrize("name", ["hifigan_22k", "pwg_22k", "vocos_24k"])
def test_normalised_values_are_recognised(name: str) -> None:
    mean, std = (np.array(values)[:, None] for values in (statistics(name).mean, statistics(name).std))
    for mel in mels(name)[1::2]:
        found = recognise(((mel - mean) / std).astype(np.float32), PRESETS[name], statistics(name))
        assert found is not None
        assert found.name == "normalised values"
        assert "mel.statistics=" in found.advice


def test_amplitudes_without_a_logarithm_are_recognised() -> None:
    found = recognise(np.exp(mels("hifigan_22k")[0]), PRESETS["hifigan_22k"], statistics("hifigan_22k"))
    assert isinstance(found, Reading)
    assert found.name == "a mel without logarithm"


def test_a_mel_looks_like_no_preset_of_other_bands() -> None:
    spec = replace(PRESETS["hifigan_22k"], n_mels=64)
    whole = log_mel(torch.from_numpy(resample(*read_audio(SPEECH[0]), 22050)), spec).numpy()
    known = MelStatistics(tuple(whole.mean(1)), tuple(whole.std(1)))
    assert recognise(whole, spec, known) is None


@pytest.mark.parametrize("name", NAMES)
def test_silence_and_short_pieces_are_accepted(name: str) -> None:
    spec = PRESETS[name]
    reader = MelReader(spec, statistics(name), MelFormat(layout="bands_first"))
    reader(log_mel(torch.zeros(spec.sample_rate), spec).numpy())
    for mel in mels(name)[:3]:
        reader(mel[:, :10])
