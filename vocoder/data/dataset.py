"""Aligned training segments out of the store, drawn by counter: batch n is a function of (seed, n).

H hop length, C context frames of conditioning, K history frames that hold the receptive field, S segment frames.

    wave   | K frames of history | S frames to predict |
    mel  |C| K                   | S                   |C|

What lies before an utterance is silence (zeros; its first mel frame repeated), after it its last frame.
"""

import copy
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vocoder.data.store import Entry, Store
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid


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


Sampling = Literal["lengths", "utterances", "speakers"]


class SegmentBatches(Dataset[Batch]):
    """Item n is batch n, or a process's share of it: its segments are a function of (seed, n), however it is computed.

    sampling "lengths"      an utterance weighs as many starts as it has: segments are uniform over the corpus
             "utterances"   all utterances weigh alike
             "speakers"     all speakers weigh alike, each one's segments uniform over what there is of them

    An utterance that is shorter than a segment is never drawn.

    Args:
        share: (rank, size); this process gets the rank-th of so many equal parts of each batch.

    Raises:
        UserError: no utterance of the split is as long as a segment.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        segment_frames: int,
        shape: Shape,
        seed: int,
        sampling: Sampling = "lengths",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        entries = store.split("train")
        self.store = store
        self.batch_size = batch_size
        self.segment_frames = segment_frames
        self.shape = shape
        self.seed = seed
        self.sampling = sampling
        self.share = share
        self.entries = entries.where(entries.frames >= segment_frames)
        self.too_short = len(entries) - len(self.entries)
        if not len(self.entries):
            raise UserError(
                f"{store.directory}: no training utterance has {segment_frames} frames; lower batch.segment_frames"
            )
        self._starts = self.entries.frames - segment_frames + 1
        self._ends = np.cumsum(self._weights())
        self._speaker_index = {name: index for index, name in enumerate(store.speakers)}

    def whole(self) -> "SegmentBatches":
        """The same, of which every process gets all."""
        whole = copy.copy(self)
        whole.share = (0, 1)
        return whole

    def __getitem__(self, number: int) -> Batch:
        waves, mels, chosen = [], [], []
        for entry, start in self._drawn(number):
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

    def _weights(self) -> np.ndarray:
        if self.sampling == "lengths":
            return self._starts
        if self.sampling == "utterances":
            return np.ones_like(self._starts)
        speakers = self.entries.speakers + 1  # none is one, too
        return self._starts / np.bincount(speakers, self._starts)[speakers]

    def _drawn(self, number: int) -> list[tuple[Entry, int]]:
        """(utterance, first frame) of each segment of this process's share of a batch."""
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, number]))
        if self.sampling == "lengths":  # the draw that chooses the utterance says where in it, too
            draws = generator.integers(self._ends[-1], size=self.batch_size)
            chosen = np.searchsorted(self._ends, draws, side="right")
            starts = draws - (self._ends[chosen] - self._starts[chosen])
        else:
            draws = generator.random(self.batch_size) * self._ends[-1]
            chosen = np.searchsorted(self._ends, draws, side="right").clip(max=len(self._ends) - 1)
            starts = generator.integers(self._starts[chosen])
        rank, size = self.share
        each = self.batch_size // size
        mine = slice(rank * each, (rank + 1) * each)
        return [(self.entries[i], int(start)) for i, start in zip(chosen[mine], starts[mine], strict=True)]

    def batches(self, first: int, workers: int, pin_memory: bool) -> Iterator[Batch]:
        """Batches first, first + 1, … without end; worker processes change when, not what."""
        return iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=_Count(first),
                num_workers=workers,
                pin_memory=pin_memory,
                worker_init_fn=_leave_signals_to_the_parent,
            )
        )


def _leave_signals_to_the_parent(worker: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # a scheduler may send them to all processes
        signal.signal(number, signal.SIG_IGN)


class _Count:
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1
