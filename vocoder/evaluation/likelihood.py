"""Exact negative log-likelihood of recordings in bits per sample: whole utterances, teacher-forced."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from vocoder.data.dataset import Margins, read_segment
from vocoder.data.store import Entry, Store
from vocoder.model import VocoderModel

NATS_PER_BIT = math.log(2)
PIECE_FRAMES = 100  # per forward pass; bounds memory and does not affect the result


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood of N utterances."""

    bits: np.ndarray  # total bits of each utterance [N], float64
    samples: np.ndarray  # number of samples of each utterance [N]

    @property
    def per_sample(self) -> float:
        """Bits per sample, averaged over all samples: utterances are weighted by their length."""
        return float(self.bits.sum() / self.samples.sum())

    @property
    def per_utterance(self) -> float:
        """Bits per sample, averaged over utterances: each has the same weight, however long."""
        return float((self.bits / self.samples).mean())


@torch.no_grad()
def likelihood(model: VocoderModel, store: Store, entries: Iterable[Entry]) -> Likelihood:
    """Likelihood of utterances from a store, in float32; every sample is predicted from its full receptive field."""
    bits, samples = [], []
    for entry in entries:
        nats = [_nats(model, store, entry, start) for start in range(0, entry.frames, PIECE_FRAMES)]
        bits.append(sum(nats) / NATS_PER_BIT)
        samples.append(entry.frames * store.spec.hop_length)
    return Likelihood(np.array(bits), np.array(samples))


def _nats(model: VocoderModel, store: Store, entry: Entry, start: int) -> float:
    """Negative log-likelihood in nats of the piece of an utterance that starts at frame `start`."""
    frames = min(PIECE_FRAMES, entry.frames - start)
    margins = Margins(model.history_frames, model.context_frames)
    arrays = read_segment(store, entry, start, frames, margins)
    waves, mels = (torch.from_numpy(array)[None].to(model.device) for array in arrays)
    speaker = model.speaker_index(model.speaker_name(entry.speaker))
    return -float(model.log_prob(waves, mels, speaker).double().sum())
