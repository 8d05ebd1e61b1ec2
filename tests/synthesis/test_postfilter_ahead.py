"""The post-filter for mels whose windows begin where their frame does, as those of r9y9's 0.1.1."""

from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter

from vocoder.features.audio import int16_to_waveform, read_audio, resample, waveform_to_int16
from vocoder.features.mel import MelSpec, log_mel
from vocoder.synthesis.postfilter import PostFilter

SPEECH = Path(__file__).parent.parent / "speech/allison/hello-world.flac"
SPEC = MelSpec(
    *(16000, 1024, 256, 1024, 80, 125.0, 7600.0),
    padding="ahead",
    magnitude_epsilon=0.0,
    log_floor=1e-4,
    log_base="10",
    window="lws",
)


def mel_of(wave: np.ndarray) -> np.ndarray:
    return log_mel(torch.from_numpy(wave).float(), SPEC).numpy()


def test_it_restores_the_level_of_bands() -> None:
    wave = resample(*read_audio(SPEECH), 16000)
    wave = wave[: len(wave) // 256 * 256]
    mel = mel_of(wave)
    dull = waveform_to_int16(lfilter([0.6, 0.3], [1.0], wave))  # high bands 9 dB too quiet
    filtered = PostFilter(SPEC, 5)(mel, dull)
    inside = np.s_[:, 8:-8]  # away from the ends, where neither mel has what lies beyond
    before = np.abs(mel_of(int16_to_waveform(dull)) - mel)[inside].mean()
    after = np.abs(mel_of(int16_to_waveform(filtered)) - mel)[inside].mean()
    assert after < before / 3
