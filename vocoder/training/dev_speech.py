"""Measures of dev speech that the model in training synthesises, by which the best checkpoint can be chosen."""

import math
from collections.abc import Callable

import numpy as np
import torch

from vocoder.data.store import Entry
from vocoder.errors import UserError
from vocoder.evaluation.measure import Target, available_measures, measure
from vocoder.evaluation.measures import measure_named
from vocoder.features.audio import int16_to_waveform
from vocoder.synthesis import Request, Vocoder
from vocoder.training.trainer import Trainer

NARROW_BAND_RATE = 8000  # Hz; PESQ has no wide-band score at this rate


def measures_for(trainer: Trainer) -> dict[str, str]:
    """The measures by their names in `checkpoint.best`."""
    narrow = trainer.store.spec.sample_rate <= NARROW_BAND_RATE
    return {"log_mel": "log_mel", "pesq": "pesq_nb" if narrow else "pesq_wb", "mos": "mos"}


def check_measure(trainer: Trainer) -> None:
    """Raises UserError where `checkpoint.best` needs a package that is not installed."""
    best = trainer.config.checkpoint.best
    if best != "bits" and measures_for(trainer)[best] not in available_measures():
        raise UserError(f"training.checkpoint.best={best}: its package is not installed; pip install -e '.[metrics]'")


def measure_dev_speech(trainer: Trainer, progress: Callable[[int], None] = lambda samples: None) -> dict[str, float]:
    """Means over `checkpoint.best_seconds` of dev speech, synthesised with the EMA weights and always the same noise.

    Args:
        progress: called during synthesis; an exception from it ends the work.
    """
    store, wanted = trainer.store, set(measures_for(trainer).values()) & available_measures()
    entries = _entries(trainer)
    mels = [np.array(store.read(entry).mel.T) for entry in entries]
    requests = [
        Request(entry.id, mel, trainer.model.speaker_name(entry.speaker))
        for entry, mel in zip(entries, mels, strict=True)
    ]
    waves = Vocoder(trainer.ema_model()).synthesize_batch(requests, trainer.config.seed, progress=progress)
    found: dict[str, list[float]] = {name: [] for name in sorted(wanted)}
    for entry, mel, wave in zip(entries, mels, waves, strict=True):
        target = Target(int16_to_waveform(store.read(entry).wave), torch.from_numpy(mel), store.spec)
        for name, value in measure(wave, target, wanted).items():
            found[name].append(value)
        progress(0)
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def score_of(trainer: Trainer, values: dict[str, float]) -> float:
    """The value of `checkpoint.best` as a score, of which lower is better; infinite where it could not be measured."""
    measured = measure_named(measures_for(trainer)[trainer.config.checkpoint.best])
    if measured.name not in values:
        return math.inf
    return values[measured.name] if measured.better == "lower" else -values[measured.name]


def _entries(trainer: Trainer) -> list[Entry]:
    """Dev utterances, always the same, until they have `best_seconds`."""
    samples_left = trainer.config.checkpoint.best_seconds * trainer.store.spec.sample_rate
    chosen: list[Entry] = []
    for entry in trainer.dev_entries():
        if samples_left <= 0 and chosen:
            break
        chosen.append(entry)
        samples_left -= entry.frames * trainer.store.spec.hop_length
    return chosen
