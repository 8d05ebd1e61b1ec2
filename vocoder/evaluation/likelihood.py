"""How likely a model finds recordings: exact bits per sample of whole utterances, teacher-forced."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from vocoder.data.dataset import Margins, read_segment
from vocoder.data.store import Entry, Store
from vocoder.model import VocoderModel

NATS_PER_BIT = math.log(2)
PIECE_FRAMES = 100  # predicted at a time; bounds memory, and changes nothing else


@dataclass(frozen=True)
class Likelihood:
    """Bits of some utterances, and how many samples each has."""

    bits: np.ndarray  # [N] float64
    samples: np.ndarray  # [N]

    @property
    def per_sample(self) -> float:
        """Bits per sample over all of them: long utterances weigh as much as they last."""
        return float(self.bits.sum() / self.samples.sum())

    @property
    def per_utterance(self) -> float:
        """The mean of the utterances' own bits per sample: short ones weigh as much as long ones."""
        return float((self.bits / self.samples).mean())


@torch.no_grad()
def likelihood(model: VocoderModel, store: Store, entries: Iterable[Entry]) -> Likelihood:
    """The likelihood of utterances of a store, in float32, each sample with its whole receptive field."""
    bits, samples = [], []
    for entry in entries:
        nats = [_nats(model, store, entry, start) for start in range(0, entry.frames, PIECE_FRAMES)]
        bits.append(sum(nats) / NATS_PER_BIT)
        samples.append(entry.frames * store.spec.hop_length)
    return Likelihood(np.array(bits), np.array(samples))


def _nats(model: VocoderModel, store: Store, entry: Entry, start: int) -> float:
    """Negative log-likelihood of the piece of an utterance that starts with frame `start`."""
    frames = min(PIECE_FRAMES, entry.frames - start)
    margins = Margins(model.history_frames, model.context_frames)
    arrays = read_segment(store, entry, start, frames, margins)
    waves, mels = (torch.from_numpy(array)[None].to(model.device) for array in arrays)
    speaker = model.speaker_index(model.speaker_name(entry.speaker))
    return -float(model.log_prob(waves, mels, speaker).double().sum())
