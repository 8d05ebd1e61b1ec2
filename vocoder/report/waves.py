"""The waves and mels of an utterance's renditions, all of one length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vocoder.evaluation.recordings import spec_for_rate
from vocoder.evaluation.results import Utterance
from vocoder.features.audio import read_audio, resample
from vocoder.features.mel import MelSpec, log_mel

DB_PER_NEPER = 20 / np.log(10)


@dataclass(frozen=True)
class Waves:
    """Renditions of an utterance, by the names of systems: the reference first if it is there.

    Attributes:
        waves: float32 [T], zero-padded to the longest, so that one time axis serves all.
        mels: log-mels [n_mels, F] in dB.
        spec: of the mels; its sample rate is that of the waves.
    """

    waves: dict[str, np.ndarray]
    mels: dict[str, np.ndarray]
    spec: MelSpec

    @property
    def seconds(self) -> float:
        return len(next(iter(self.waves.values()))) / self.spec.sample_rate


def load_waves(folder: Path, utterance: Utterance, systems: Sequence[str]) -> Waves:
    """Read the wavs of an utterance's renditions, in the order of `systems`; a system without one is left out.

    Waves of another rate than the first's are resampled to it.

    Raises:
        UserError: a wav cannot be read.
    """
    paths = {name: folder / utterance.renditions[name].wav for name in systems if name in utterance.renditions}
    found = {name: read_audio(path) for name, path in paths.items()}
    sample_rate = next(rate for _, rate in found.values())
    waves = {name: resample(wave, rate, sample_rate) for name, (wave, rate) in found.items()}
    spec = spec_for_rate(sample_rate)
    length = max(spec.n_fft, *map(len, waves.values()))  # a mel needs about a window
    waves = {name: np.pad(wave, (0, length - len(wave))) for name, wave in waves.items()}
    return Waves(waves, {name: mel_in_db(wave, spec) for name, wave in waves.items()}, spec)


def mel_in_db(wave: np.ndarray, spec: MelSpec) -> np.ndarray:
    """The log-mel [n_mels, F] of a wave [T], in dB of amplitude."""
    return log_mel(torch.from_numpy(wave), spec).numpy() * spec.log_unit * DB_PER_NEPER
