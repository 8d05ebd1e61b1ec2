"""Conversions: exact where the energies are the same, near where they are not, refused unless asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder.errors import UserError
from vocoder.features.audio import read_audio, resample
from vocoder.features.conversion_loss import expected_loss
from vocoder.features.conversion_losses import LOSSES
from vocoder.features.convert import convert_approximately, convert_exactly, is_exact
from vocoder.features.mel import PRESETS, MelSpec, log_mel, preset_name
from vocoder.features.mel_input import MelFormat, MelReader

SPEECH = Path(__file__).parent.parent / "speech/june/hello-world.flac"
NAMES = list(PRESETS)


def mel_of_speech(spec: MelSpec, path: Path = SPEECH) -> np.ndarray:
    wave = resample(*read_audio(path), spec.sample_rate)
    return log_mel(torch.from_numpy(wave), spec).numpy()


EXACT = {
    "log base": (PRESETS["pwg_22k"], replace(PRESETS["pwg_22k"], log_base="e", log_floor=1e-5)),
    "gain and offset": (replace(PRESETS["pwg_22k"], log_gain=20.0, log_offset=-20.0), PRESETS["pwg_22k"]),
    "a higher floor": (PRESETS["vocos_24k"], PRESETS["f5_vocos"]),
    "an added guard": (
        PRESETS["nemo_fastpitch"],
        replace(PRESETS["tacotron2_22k"], window="symmetric"),
    ),
    "the same": (PRESETS["speecht5"], PRESETS["pwg_16k"]),
}


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_conversion_gives_the_targets_own_mel(name: str) -> None:
    source, target = EXACT[name]
    assert is_exact(source, target)
    converted = convert_exactly(mel_of_speech(source), source, target)
    assert np.abs(converted - mel_of_speech(target)).max() < 1e-4
    assert converted.dtype == np.float32


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("hifigan_22k", "tacotron2_22k"),  # padding
        ("hifigan_22k", "vits_22k"),  # filters
        ("rayhane", "coqui_default"),  # power
        ("f5_vocos", "vocos_24k"),  # the lower floor is lost
        ("pwg_22k", "pwg_24k"),
    ],
)
def test_other_conversions_are_refused_unless_asked_for(source: str, target: str) -> None:
    with pytest.raises(UserError, match=rf"mel.from={source}: .*{target}.*not exact.*mel.convert=approximate.* dB"):
        MelReader(PRESETS[target], None, MelFormat(preset=source))
    reader = MelReader(PRESETS[target], None, MelFormat(preset=source, convert="approximate"))
    assert reader.warning is not None
    assert expected_loss(source, target) in reader.warning
    wave_seconds = 0.75
    mel = reader(mel_of_speech(PRESETS[source]))
    spec = PRESETS[target]
    assert mel.shape[0] == spec.n_mels
    assert mel.shape[1] * spec.hop_length / spec.sample_rate > wave_seconds


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", ["hifigan_22k", "bigvgan_24k", "pwg_24k", "rayhane"])
def test_an_approximate_conversion_loses_about_what_the_table_says(source: str, target: str) -> None:
    if is_exact(PRESETS[source], PRESETS[target]):
        assert "not measured" in expected_loss(source, target)
        return
    spec = PRESETS[target]
    converted = convert_approximately(mel_of_speech(PRESETS[source]), PRESETS[source], spec)
    expected = mel_of_speech(spec)
    assert abs(converted.shape[1] - expected.shape[1]) <= 1
    frames = min(converted.shape[1], expected.shape[1])
    errors = np.abs(converted[:, :frames] - expected[:, :frames]) * spec.log_unit * 8.686
    loss = float(np.median(errors))  # above 7 kHz, where these recordings end, a conversion has nothing to go by
    said = LOSSES[source][preset_name(spec)]
    assert f"{said:.1f} dB" in expected_loss(source, target)
    assert loss < 2 * said + 2


def test_the_loss_of_a_preset_under_another_name_is_said() -> None:
    assert expected_loss("speecht5", "hifigan_22k") == expected_loss("pwg_16k", "hifigan_22k")
    assert "dB" in expected_loss("speecht5", "hifigan_22k")


def level(mel: np.ndarray, spec: MelSpec) -> float:
    """In nepers, that of the power and not of its logarithm, which is lower where bands have few bins."""
    return 0.5 * float(np.log(np.exp(2 * spec.nepers(mel.astype(np.float64))).mean()))


def test_white_noise_keeps_its_level_in_every_conversion() -> None:
    for source in NAMES:
        for target in set(NAMES) - {"bigvgan_44k_256x"}:  # whose bands of single bins ripple
            a, b = PRESETS[source], PRESETS[target]
            noise = 0.05 * np.random.default_rng(0).standard_normal(3 * 44100)
            given = log_mel(torch.from_numpy(noise[: 3 * a.sample_rate]), a).numpy()
            # noise of the same density per hertz, whatever the rate
            density = np.sqrt(b.sample_rate / a.sample_rate)
            expected = log_mel(torch.from_numpy(density * noise[: 3 * b.sample_rate]), b).numpy()
            converted = convert_approximately(given, a, b)
            middle = slice(b.n_mels // 4, b.n_mels // 2)
            difference = level(converted[middle], b) - level(expected[middle], b)
            assert abs(difference) < 0.45, (
                source,
                target,
                difference,
            )  # 4 dB; most where bands of one bin follow wide ones
