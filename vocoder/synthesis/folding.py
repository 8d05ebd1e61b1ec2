"""One long utterance generated in pieces at the same time.

    mel           |=========|~~~~~~~~~~|=======|~~~~~~~~|        cut where it is quiet, near equal lengths
    piece 1       |---------|x
    piece 2            s s w|x---------|x                        s: silence given, w: heard by the piece alone
    piece 3                       s s w|x------|x                x: faded from one piece into the next

A piece begins from silence a receptive field and more before it is heard, and by the same noise as the piece before it.
At a join both go on for a frame, and one is faded into the other so that power stays what it is. The wave is
another draw from the model than the unfolded one, and as good a one except within reach of the joins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from torch import Tensor

from vocoder.engines import Frame, Noise
from vocoder.model import VocoderModel
from vocoder.synthesis.frames import frames_of

FADE = 1  # frames at a join that both sides generate
LONG_ENOUGH = 12  # a piece lasts at least so many times as long as its warm-up and its fade
MOST = 64  # pieces; how an utterance is cut depends on nothing but its mel and the model


@dataclass(frozen=True)
class Piece:
    """Part of an utterance, in frames."""

    first: int  # generated
    start: int  # heard
    stop: int  # the end, with the fade into the next piece


def pieces_of(mel: np.ndarray, model: VocoderModel) -> list[Piece]:
    """Cut log-mel [n_mels, F] into pieces of near equal length, at the quietest frame there."""
    frames, warm_up = mel.shape[1], model.history_frames
    count = max(1, min(MOST, frames // (LONG_ENOUGH * (warm_up + FADE))))
    length = frames / count
    loudness = np.exp(mel * model.spec.log_unit).sum(0)
    cuts = [0]
    for i in range(1, count):
        low, high = round((i - 0.25) * length), round((i + 0.25) * length)
        cuts.append(low + int(loudness[low:high].argmin()))
    stops = [*(cut + FADE for cut in cuts[1:]), frames]
    return [Piece(max(0, cut - warm_up), cut, stop) for cut, stop in zip(cuts, stops, strict=True)]


def frames_of_piece(
    model: VocoderModel, mel: np.ndarray, noise: Noise, speaker: Tensor | None, piece: Piece
) -> Iterator[Frame]:
    """What an engine has to know of a piece of log-mel [n_mels, F]; its silence and warm-up come first."""
    context, lead = model.context_frames, model.history_frames
    low, high = max(0, piece.first - lead - context), min(mel.shape[1], piece.stop + context)
    frames = frames_of(model, [mel[:, low:high]], noise, speaker, first=low)
    silence = np.zeros(model.spec.hop_length, np.float32)
    begin = piece.first - low  # of the silence, within what comes: as much of it lies before the window
    for frame in islice(frames, begin, begin + lead):
        yield replace(frame, forced=silence)
    yield from islice(frames, piece.stop - piece.first)


def joined(waves: Sequence[np.ndarray], pieces: Sequence[Piece], hop_length: int) -> np.ndarray:
    """One int16 wave of the waves of the pieces, each from its first frame on."""
    fade = FADE * hop_length
    whole = np.zeros(pieces[-1].stop * hop_length)
    for i, (wave, piece) in enumerate(zip(waves, pieces, strict=True)):
        heard = wave[(piece.start - piece.first) * hop_length :].astype(np.float64)
        start = piece.start * hop_length
        if i:
            heard[:fade] = crossfaded(whole[start : start + fade], heard[:fade])
        whole[start : start + len(heard)] = heard
    return np.rint(whole).clip(-32768, 32767).astype(np.int16)


def crossfaded(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """From one into the other, both [N], with weights that keep the power, however much the two are alike."""
    rising = (np.arange(len(old)) + 0.5) / len(old)
    falling = 1 - rising
    power = np.sqrt((old**2).sum() * (new**2).sum())
    alike = max(0.0, (old * new).sum() / power) if power else 1.0
    return (falling * old + rising * new) / np.sqrt(falling**2 + rising**2 + 2 * alike * falling * rising)
