"""Batches of aligned wave and mel segments from a store, drawn at random: batch n is a function of (seed, n).

B batch, H hop length, C context frames of conditioning, K history frames that cover the receptive field, S segment
frames.

    wave   | K frames of history | S frames to predict |
    mel  |C| K                   | S                   |C|

An utterance is padded at its start with silence (zeros in the wave) and copies of its first mel frame, and at its end
with copies of its last mel frame.
"""

import copy
import itertools
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
from vocoder.features.pre_emphasis import PreEmphasis


@dataclass
class Batch:
    """A batch of segments."""

    waves: Tensor  # [B, (K + S) H] on the grid
    mel: Tensor  # [B, n_mels, C + K + S + C]
    speaker: Tensor  # [B] indices into the store's speakers; 0 if it has none
    ids: list[str]  # of the utterances

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; the copy is asynchronous if the memory is pinned."""
        waves, mel, speaker = (t.to(device, non_blocking=True) for t in (self.waves, self.mel, self.speaker))
        return Batch(waves=waves, mel=mel, speaker=speaker, ids=self.ids)

    def split(self, parts: int) -> "Iterator[Batch]":
        """Divide the batch into at most `parts` batches of nearly equal size."""
        size = -(-len(self.waves) // parts)
        for first in range(0, len(self.waves), size):
            part = slice(first, first + size)
            yield Batch(waves=self.waves[part], mel=self.mel[part], speaker=self.speaker[part], ids=self.ids[part])

    def pin_memory(self) -> "Batch":
        """The batch in pinned memory (DataLoader calls this)."""
        waves, mel, speaker = (t.pin_memory() for t in (self.waves, self.mel, self.speaker))
        return Batch(waves=waves, mel=mel, speaker=speaker, ids=self.ids)


@dataclass(frozen=True)
class Margins:
    """Frames that a model needs around a segment."""

    history_frames: int  # K, of wave and mel before the segment
    context_frames: int  # C, of mel before that and after the segment


def read_segment(
    store: Store,
    entry: Entry,
    start: int,
    frames: int,
    margins: Margins,
    pre_emphasis: PreEmphasis = PreEmphasis(),  # noqa: B008
) -> tuple[np.ndarray, np.ndarray]:
    """Read frames `start` to `start + frames` of an utterance with their margins.

    Returns:
        The wave [(K + S) H], on the grid unless it is pre-emphasised, and the mel [n_mels, C + K + S + C]; float32.
    """
    first = start - margins.history_frames
    begin, hop = max(first, 0), store.spec.hop_length
    before = min(begin, 1) if pre_emphasis else 0  # a frame more, for the sample before the first
    utterance = store.read(entry, begin - before, start + frames)
    wave = pre_emphasis.apply(int16_to_grid(utterance.wave))[before * hop :]
    wave = np.pad(wave, ((begin - first) * hop, 0))
    rows = np.arange(first - margins.context_frames, start + frames + margins.context_frames)
    rows = rows.clip(0, entry.frames - 1)  # repeats the first and the last frame
    mel = store.read(entry, rows[0], rows[-1] + 1).mel
    return wave, np.ascontiguousarray(mel[rows - rows[0]].T)


Sampling = Literal["lengths", "utterances", "speakers"]


class SegmentBatches(Dataset[Batch]):
    """Training batches by number: item n is batch n, or with several processes this process's part of it.

    The segments of batch n depend on (seed, n) alone, not on the number of worker or training processes. Utterances
    shorter than a segment are never drawn; `too_short` counts them.

    Args:
        batch_size: segments in a batch, over all processes.
        segment_frames: length S of a segment.
        margins: frames around each segment.
        seed: key of the random numbers.
        sampling: "lengths" draws uniformly from all possible segments of the corpus; "utterances" draws the utterance
            uniformly, then the start; "speakers" gives all speakers equal weight and draws uniformly from the segments
            of each.
        rank: number of this process, which gets the rank-th of `world_size` equal parts of each batch.
        world_size: number of training processes.
        pre_emphasis: of the waves; the mels are those of the waves as they are.

    Raises:
        UserError: no utterance of the training split is as long as a segment.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        segment_frames: int,
        margins: Margins,
        seed: int,
        sampling: Sampling = "lengths",
        rank: int = 0,
        world_size: int = 1,
        pre_emphasis: PreEmphasis = PreEmphasis(),  # noqa: B008
    ) -> None:
        entries = store.split("train")
        self.store = store
        self.batch_size = batch_size
        self.segment_frames = segment_frames
        self.margins = margins
        self.seed = seed
        self.sampling = sampling
        self.pre_emphasis = pre_emphasis
        self.rank, self.world_size = rank, world_size
        self.entries = entries.select(entries.frame_counts >= segment_frames)
        self.too_short = len(entries) - len(self.entries)
        if not len(self.entries):
            raise UserError(
                f"{store.directory}: no training utterance has {segment_frames} frames; "
                "lower training.batch.segment_frames"
            )
        self._starts = self.entries.frame_counts - segment_frames + 1  # possible first frames in each utterance
        self._cumulative_weights = np.cumsum(self._weights())
        self._speaker_indices = {name: index for index, name in enumerate(store.speakers)}

    def full_batches(self) -> "SegmentBatches":
        """The same batches, undivided: in every process, item n is the whole batch n."""
        full = copy.copy(self)
        full.rank, full.world_size = 0, 1
        return full

    def __getitem__(self, number: int) -> Batch:
        waves, mels, entries = [], [], []
        for entry, start in self._draw(number):
            wave, mel = read_segment(self.store, entry, start, self.segment_frames, self.margins, self.pre_emphasis)
            waves.append(wave)
            mels.append(mel)
            entries.append(entry)
        return Batch(
            waves=torch.from_numpy(np.stack(waves)),
            mel=torch.from_numpy(np.stack(mels)),
            speaker=torch.tensor([self._speaker_indices.get(entry.speaker or "", 0) for entry in entries]),
            ids=[entry.id for entry in entries],
        )

    def _weights(self) -> np.ndarray:
        """Relative probability [N] of drawing each utterance."""
        if self.sampling == "lengths":
            return self._starts
        if self.sampling == "utterances":
            return np.ones_like(self._starts)
        speakers = self.entries.speaker_indices + 1  # 0 is "no speaker", which counts as one
        return self._starts / np.bincount(speakers, self._starts)[speakers]

    def _draw(self, number: int) -> list[tuple[Entry, int]]:
        """(utterance, first frame) of each segment in this process's part of batch `number`."""
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, number]))
        cumulative = self._cumulative_weights
        if self.sampling == "lengths":  # weights count starts: one draw gives the utterance and the start in it
            draws = generator.integers(cumulative[-1], size=self.batch_size)
            drawn = np.searchsorted(cumulative, draws, side="right")
            starts = draws - (cumulative[drawn] - self._starts[drawn])
        else:
            draws = generator.random(self.batch_size) * cumulative[-1]
            drawn = np.searchsorted(cumulative, draws, side="right").clip(max=len(cumulative) - 1)
            starts = generator.integers(self._starts[drawn])
        size = self.batch_size // self.world_size
        part = slice(self.rank * size, (self.rank + 1) * size)
        return [(self.entries[i], int(start)) for i, start in zip(drawn[part], starts[part], strict=True)]

    def batches(self, first: int, workers: int, pin_memory: bool) -> Iterator[Batch]:
        """An endless iterator over batches first, first + 1, …, which do not depend on the number of workers.

        Args:
            workers: number of processes that load batches in the background; 0 loads in this one.
        """
        return iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=itertools.count(first),
                num_workers=workers,
                pin_memory=pin_memory,
                worker_init_fn=_ignore_signals,
            )
        )


def _ignore_signals(worker: int) -> None:
    """Leave signals to the training process: schedulers and terminals send them to its workers as well."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
