"""Exact negative log-likelihood of recordings in bits per sample: whole utterances, teacher-forced."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder.data.store import Entry, Store
from vocoder.features.audio import int16_to_grid
from vocoder.model import VocoderModel, extend_edges

NATS_PER_BIT = math.log(2)
PIECE_FRAMES = 100  # per forward pass; bounds memory and does not affect the result
LEVEL_BANDS = (-60, -40, -20)  # dBFS (RMS of a frame; full scale is 0): edges between the bands of `bits_by_level`


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


def likelihood(model: VocoderModel, store: Store, entries: Iterable[Entry]) -> Likelihood:
    """Likelihood of utterances from a store, in float32; every sample is predicted from its full receptive field."""
    bits, samples = [], []
    for entry in entries:
        utterance = store.read(entry)
        speaker = model.speaker_index(model.speaker_name(entry.speaker))
        bits.append(frame_bits(model, utterance.wave, utterance.mel.T, speaker).sum())
        samples.append(entry.frames * store.spec.hop_length)
    return Likelihood(np.array(bits), np.array(samples))


@torch.no_grad()
def frame_bits(model: VocoderModel, wave: np.ndarray, mel: np.ndarray, speaker: Tensor | None = None) -> np.ndarray:
    """Bits of each frame [F], float64: the sum over its samples of -log2 p, from an int16 wave [F * hop_length].

    The wave is preceded by silence, and the log-mel [n_mels, F] by its first frame, repeated, as in synthesis.
    """
    hop, frames = model.spec.hop_length, mel.shape[1]
    history, context = model.history_frames, model.context_frames
    waves = torch.from_numpy(np.pad(model.pre_emphasis.apply(int16_to_grid(wave)), (history * hop, 0)))[None]
    mels = extend_edges(torch.from_numpy(np.ascontiguousarray(mel, np.float32))[None], history + context, context)
    pieces = []
    for start in range(0, frames, PIECE_FRAMES):
        count = min(PIECE_FRAMES, frames - start)
        piece = waves[:, start * hop : (start + history + count) * hop].to(model.device)
        piece_mel = mels[:, :, start : start + history + count + 2 * context].to(model.device)
        log_prob = model.log_prob(piece, piece_mel, speaker).double()
        pieces.append(-log_prob.reshape(count, hop).sum(1).cpu().numpy())
    return np.concatenate(pieces) / NATS_PER_BIT


def bits_by_level(bits: np.ndarray, wave: np.ndarray) -> dict[str, tuple[float, int]]:
    """(total bits, samples) of the frames in each band of level, from bits [F] and the int16 wave [F * hop_length].

    Bands without frames are left out.
    """
    hop = len(wave) // len(bits)
    power = (wave.reshape(len(bits), hop).astype(np.float64) / 32768) ** 2
    levels = 10 * np.log10(np.maximum(power.mean(1), 1e-12))
    band_of_frame = np.searchsorted(LEVEL_BANDS, levels, side="right")
    found = {}
    for band, name in enumerate(_band_names()):
        inside = band_of_frame == band
        if inside.any():
            found[name] = (float(bits[inside].sum()), int(inside.sum()) * hop)
    return found


def _band_names() -> list[str]:
    between = [f"{low} to {high} dBFS" for low, high in itertools.pairwise(LEVEL_BANDS)]
    return [f"below {LEVEL_BANDS[0]} dBFS", *between, f"above {LEVEL_BANDS[-1]} dBFS"]
