"""Aligned training segments out of the store, drawn by counter: batch n is a function of (seed, n).

H hop length, C context frames of conditioning, K history frames that hold the receptive field, S segment frames.

    wave   | K frames of history | S frames to predict |
    mel  |C| K                   | S                   |C|

What lies before an utterance is silence (zeros; its first mel frame repeated), after it its last frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vocoder.audio import int16_to_grid
from vocoder.errors import UserError
from vocoder.store import Entry, Store


@dataclass
class Batch:
    """Segments: waves [B, (K + S) H] on the grid, mel [B, n_mels, C + K + S + C], speaker [B]."""

    waves: Tensor
    mel: Tensor
    speaker: Tensor
    ids: list[str]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, without waiting for the copy where memory is pinned."""
        waves, mel, speaker = (t.to(device, non_blocking=True) for t in (self.waves, self.mel, self.speaker))
        return Batch(waves, mel, speaker, self.ids)

    def split(self, parts: int) -> "Iterator[Batch]":
        """In `parts` of nearly equal size."""
        size = -(-len(self.waves) // parts)
        for first in range(0, len(self.waves), size):
            taken = slice(first, first + size)
            yield Batch(self.waves[taken], self.mel[taken], self.speaker[taken], self.ids[taken])

    def pin_memory(self) -> "Batch":
        return Batch(self.waves.pin_memory(), self.mel.pin_memory(), self.speaker.pin_memory(), self.ids)


@dataclass(frozen=True)
class Shape:
    """How much around a segment comes along: the model's history and context, in frames."""

    history_frames: int
    context_frames: int


def segment(store: Store, entry: Entry, start: int, frames: int, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """(wave [(K + S) H] on the grid, mel [n_mels, C + K + S + C]) for frames start … start + frames."""
    first = start - shape.history_frames
    utterance = store.read(entry, max(first, 0), start + frames)
    silence = (max(first, 0) - first) * store.spec.hop_length
    wave = np.pad(int16_to_grid(utterance.wave), (silence, 0))
    wanted = np.arange(first - shape.context_frames, start + frames + shape.context_frames)
    wanted = wanted.clip(0, entry.frames - 1)
    mel = store.read(entry, wanted[0], wanted[-1] + 1).mel
    return wave, np.ascontiguousarray(mel[wanted - wanted[0]].T)


class SegmentBatches(Dataset[Batch]):
    """Item n is the batch of step n: segments uniform over all their possible starts in the corpus.

    An utterance weighs as many starts as it has, so long ones are drawn more often; one shorter than a
    segment is never drawn.

    Raises:
        UserError: no utterance of the split is as long as a segment.
    """

    def __init__(self, store: Store, batch_size: int, segment_frames: int, shape: Shape, seed: int) -> None:
        entries = store.split("train")
        self.store = store
        self.batch_size = batch_size
        self.segment_frames = segment_frames
        self.shape = shape
        self.seed = seed
        self.entries = [entry for entry in entries if entry.frames >= segment_frames]
        self.too_short = len(entries) - len(self.entries)
        if not self.entries:
            raise UserError(
                f"{store.directory}: no training utterance has {segment_frames} frames; lower batch.segment_frames"
            )
        self._ends = np.cumsum([entry.frames - segment_frames + 1 for entry in self.entries])
        self._speaker_index = {name: index for index, name in enumerate(store.speakers)}

    def __getitem__(self, step: int) -> Batch:
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, step]))
        waves, mels, chosen = [], [], []
        for draw in generator.integers(self._ends[-1], size=self.batch_size):
            index = int(np.searchsorted(self._ends, draw, side="right"))
            entry = self.entries[index]
            start = int(draw - (self._ends[index - 1] if index else 0))
            wave, mel = segment(self.store, entry, start, self.segment_frames, self.shape)
            waves.append(wave)
            mels.append(mel)
            chosen.append(entry)
        return Batch(
            torch.from_numpy(np.stack(waves)),
            torch.from_numpy(np.stack(mels)),
            torch.tensor([self._speaker_index.get(entry.speaker or "", 0) for entry in chosen]),
            [entry.id for entry in chosen],
        )

    def batches(self, first: int, workers: int, pin_memory: bool) -> Iterator[Batch]:
        """Batches first, first + 1, … without end; worker processes change when, not what."""
        loader = DataLoader(self, batch_size=None, sampler=_Count(first), num_workers=workers, pin_memory=pin_memory)
        return iter(loader)


class _Count:
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1
