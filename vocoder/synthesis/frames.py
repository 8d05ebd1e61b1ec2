"""From a mel, whole or still coming in, to what an engine has to know of one frame after another.

    mel frames          0 0 0 0 | 0 1 2 3 … F-1 | F-1 F-1      the first and the last are repeated outside
    generated frames      s s     0 1 2 3 … F-1                s: silence, given as zeros; it fills the receptive field

A frame's conditioning is computed in a block of neighbours, always of the same size and cut at the same places, with
zeros for what has not come in yet. So it comes out the same to the bit whether the mel is whole or not.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from vocoder.device import one_torch_thread
from vocoder.engines import Frame, Noise
from vocoder.model import VocoderModel

BLOCK = 16  # frames


def frames_of(
    model: VocoderModel,
    mel: Iterable[np.ndarray],
    noise: Noise,
    speaker: Tensor | None = None,
    *,
    first: int = 0,
) -> Iterator[Frame]:
    """Frames of one utterance: `model.history_frames` of silence and then as many as there are of mel.

    A frame comes out as soon as its context has come in.

    Args:
        mel: chunks [n_mels, F] of the log-mel, of any lengths.
        noise: of this utterance alone.
        speaker: index [1] of the speaker, for a model with speakers.
        first: the mel's first frame within the utterance, from which its noise counts.
    """
    blocks = Blocks(model, speaker)
    draws = NoiseBlocks(model, noise, first)
    silence = np.zeros(model.spec.hop_length, np.float32)
    for index, (knots, filters) in enumerate(blocks.through(mel)):
        frame = index - model.history_frames
        if frame < 0:
            yield Frame(knots, filters, draws.none, silence)
        else:
            yield Frame(knots, filters, draws[frame])


class Blocks:
    """The conditioning of frames that come in."""

    def __init__(self, model: VocoderModel, speaker: Tensor | None) -> None:
        self.model, self.speaker = model, speaker
        self.context = model.context_frames

    def through(self, mel: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """(knots [J, C], filters [U, K + 1]) of each frame, those of the silence first."""
        done = 0  # frames
        known = np.zeros((self.model.spec.n_mels, 0), np.float32)  # mel from frame `dropped` of those with edges on
        dropped = 0
        for chunk in self._with_edges(mel):
            known = np.concatenate((known, chunk), 1)
            ready = dropped + known.shape[1] - 2 * self.context
            while done < ready:
                first = done // BLOCK * BLOCK
                known, dropped = known[:, first - dropped :], first
                count = min(ready, first + BLOCK)
                block = self._conditioned(known[:, : BLOCK + 2 * self.context])
                yield from block[done - first : count - first]
                done = count

    def _with_edges(self, mel: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        last = None
        for chunk in mel:
            if last is None and chunk.shape[1]:
                yield chunk[:, :1].repeat(self.model.history_frames + self.context, 1)
            if chunk.shape[1]:
                last = chunk[:, -1:]
                yield chunk
        if last is not None and self.context:
            yield last.repeat(self.context, 1)

    @torch.inference_mode()
    def _conditioned(self, mel: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        full = np.zeros((1, mel.shape[0], BLOCK + 2 * self.context), np.float32)
        full[0, :, : mel.shape[1]] = mel
        with one_torch_thread():
            known = self.model.condition(torch.from_numpy(full).to(self.model.device), self.speaker)
        knots = known.channels.knots[0].cpu().numpy()
        if known.filters is None:
            return [(frame, None) for frame in knots]
        return list(zip(knots, known.filters[0].cpu().numpy(), strict=True))


class NoiseBlocks:
    """The standard noise of an utterance's frames, computed a block at a time."""

    def __init__(self, model: VocoderModel, noise: Noise, first: int) -> None:
        self.distribution, self.hop = model.distribution, model.spec.hop_length
        self.noise, self.first = noise, first
        self.none = np.zeros((self.distribution.sampler_spec.choices + 1, self.hop), np.float32)
        self._block, self._values = -1, self.none

    def __getitem__(self, frame: int) -> np.ndarray:
        """[choices + 1, H] of the frame that is so many after the first."""
        block, within = divmod(frame, BLOCK)
        if block != self._block:
            uniforms = self.noise.block((self.first + block * BLOCK) * self.hop, BLOCK * self.hop)
            with one_torch_thread():
                self._block, self._values = block, self.distribution.standard_noise(uniforms)[0].numpy()
        return self._values[:, within * self.hop : (within + 1) * self.hop]
