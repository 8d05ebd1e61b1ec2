"""The recordings of an evaluation: utterances of a store, or audio files below a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch

from vocoder.corpora import find_recordings
from vocoder.data.store import Entry, Store
from vocoder.errors import UserError
from vocoder.features.audio import read_audio, resample, waveform_to_int16
from vocoder.features.mel import PRESETS, MelSpec, frame_count, log_mel
from vocoder.files import is_utf8, printable

Item = TypeVar("Item")


class Recording(Protocol):
    """An utterance as it was recorded, read from disk at each call."""

    @property
    def id(self) -> str: ...

    @property
    def speaker(self) -> str | None: ...

    def wave(self) -> np.ndarray:
        """int16 samples [F * hop_length]. Raises UserError where it cannot be read."""

    def mel(self) -> np.ndarray:
        """The log-mel [n_mels, F]. Raises UserError where it cannot be computed."""


@dataclass(frozen=True)
class StoreRecording:
    """An utterance of a store."""

    store: Store
    entry: Entry

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def speaker(self) -> str | None:
        return self.entry.speaker

    def wave(self) -> np.ndarray:
        return np.array(self.store.read(self.entry).wave)

    def mel(self) -> np.ndarray:
        return np.array(self.store.read(self.entry).mel.T)


@dataclass(frozen=True)
class FileRecording:
    """An audio file, resampled to the spec's rate and cut to whole frames."""

    id: str
    path: Path
    spec: MelSpec
    speaker: str | None = None

    def wave(self) -> np.ndarray:
        waveform = self._waveform()
        return waveform_to_int16(waveform[: frame_count(len(waveform), self.spec) * self.spec.hop_length])

    def mel(self) -> np.ndarray:
        return log_mel(torch.from_numpy(self._waveform()), self.spec).numpy()

    def _waveform(self) -> np.ndarray:
        waveform, sample_rate = read_audio(self.path)
        return resample(waveform, sample_rate, self.spec.sample_rate)


def recordings_of(path: Path, split: str, spec: MelSpec, exclude: Path) -> list[Recording]:
    """The utterances of a store's split, or the audio files below a folder but not below `exclude`, in a fixed order.

    Raises:
        UserError: there are none, two files have one name, or the store's mels are of another spec.
    """
    if not (path / "store.json").exists():
        return list(files_by_id(path, spec, "data", exclude).values())
    store = Store(path)
    if store.spec != spec:
        raise UserError(f"data={path}: its mels are not the model's ({store.spec.differences(spec)})")
    entries = store.split(split)
    if not entries:
        raise UserError(f"split={split}: {path} has no utterances in it; choose another split")
    return [StoreRecording(store, entry) for entry in entries]


def files_by_id(folder: Path, spec: MelSpec, setting: str, exclude: Path) -> dict[str, FileRecording]:
    """The audio files below a folder but not below `exclude`, by their paths in it, without suffix.

    Args:
        setting: name of the setting that gives the folder, for errors.

    Raises:
        UserError: there are none, or two have the same name but for the suffix, or one has a name that is not text.
    """
    found: dict[str, FileRecording] = {}
    for recording in find_recordings(folder, setting):
        if recording.path.resolve().is_relative_to(exclude.resolve()):
            continue
        if not is_utf8(recording.id):
            raise UserError(f"{printable(str(recording.path))}: its name is not UTF-8; rename it")
        if recording.id in found:
            raise UserError(f"{recording.path}: another file has the same name with another suffix; remove one")
        found[recording.id] = FileRecording(recording.id, recording.path, spec)
    if not found:
        raise UserError(f"{setting}={folder}: holds only the results in {exclude}; choose another folder")
    return found


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit` of the items, evenly spaced, so that all parts of a corpus are among them."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def spec_for_rate(sample_rate: int) -> MelSpec:
    """A spec for waves that no model was named for: a preset of that rate, or hifigan_22k scaled to it."""
    preset = next((spec for spec in PRESETS.values() if spec.sample_rate == sample_rate), None)
    if preset is not None:
        return preset
    hop = max(1, round(256 * sample_rate / 22050))
    return MelSpec(sample_rate, 4 * hop, hop, 4 * hop, 80, 0.0, min(8000.0, sample_rate / 2))
