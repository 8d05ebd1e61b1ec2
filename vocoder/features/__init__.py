"""Acoustic features: audio files and sample formats (audio), log-mel-spectrograms (mel), mels in files (mel_files)."""

import vocoder.compilation  # noqa: F401 -- before librosa, whose loops it allows to go without a cache
from vocoder.features.audio import (
    grid_to_int16,
    int16_to_grid,
    int16_to_waveform,
    read_audio,
    resample,
    trim_silence,
    waveform_to_int16,
    write_wav,
)
from vocoder.features.mel import PRESETS, MelSpec, check_mel, frame_count, log_mel, preset_name
from vocoder.features.mel_files import read_mel

__all__ = [
    "PRESETS",
    "MelSpec",
    "check_mel",
    "frame_count",
    "grid_to_int16",
    "int16_to_grid",
    "int16_to_waveform",
    "log_mel",
    "preset_name",
    "read_audio",
    "read_mel",
    "resample",
    "trim_silence",
    "waveform_to_int16",
    "write_wav",
]
