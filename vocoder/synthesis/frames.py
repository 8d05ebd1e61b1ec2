"""Turns a mel, whole or streamed, into the frames that an engine generates from.

    mel frames          0 0 0 0 | 0 1 2 3 … F-1 | F-1 F-1      the first and the last frame are repeated outside
    generated frames      s s     0 1 2 3 … F-1                s: silence, forced zeros that fill the receptive field

The conditioning is computed in blocks of fixed size and fixed position, with zeros in place of mel frames that have not
arrived. So it is the same to the bit whether the mel arrives at once or in chunks.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from vocoder.device import one_torch_thread
from vocoder.engines import Frame, Noise
from vocoder.model import VocoderModel

BLOCK = 32  # frames


def frames_of(
    model: VocoderModel,
    mel: Iterable[np.ndarray],
    noise: Noise,
    speaker: Tensor | None = None,
    *,
    first: int = 0,
) -> Iterator[Frame]:
    """Yield one utterance's frames: `model.history_frames` of silence, then one for each frame of the mel.

    A frame is yielded as soon as its `model.context_frames` of context have arrived.

    Args:
        mel: chunks [n_mels, F] of the log-mel, of any lengths.
        noise: of this utterance alone.
        speaker: index [1] of the speaker, for a model with speakers.
        first: index within the utterance of the mel's first frame; selects the noise.
    """
    conditioning = BlockwiseConditioning(model, speaker)
    standard_noise = BlockwiseNoise(model, noise, first)
    silence = np.zeros(model.spec.hop_length, np.float32)
    history_frames = model.history_frames
    for index, (knots, filters) in enumerate(conditioning.frames(mel)):
        frame = index - history_frames
        if frame < 0:
            yield Frame(knots, filters, standard_noise.zeros, silence)
        else:
            yield Frame(knots, filters, standard_noise[frame])


class BlockwiseConditioning:
    """The conditioning of frames as they arrive, computed a block at a time."""

    def __init__(self, model: VocoderModel, speaker: Tensor | None) -> None:
        self.model, self.speaker = model, speaker
        self.context = model.context_frames

    def frames(self, mel: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield (knots [J, C], filters [U, K + 1]) of each frame, those of the silence first."""
        yielded = 0  # frames
        buffer = np.zeros((self.model.spec.n_mels, 0), np.float32)
        buffer_start = 0  # index in the padded mel of the buffer's first frame
        for chunk in self._padded(mel):
            buffer = np.concatenate((buffer, chunk), 1)
            complete = buffer_start + buffer.shape[1] - 2 * self.context  # frames whose context has arrived
            while yielded < complete:
                block_start = yielded // BLOCK * BLOCK
                buffer, buffer_start = buffer[:, block_start - buffer_start :], block_start
                block_stop = min(complete, block_start + BLOCK)
                block = self._condition_block(buffer[:, : BLOCK + 2 * self.context])
                yield from block[yielded - block_start : block_stop - block_start]
                yielded = block_stop

    def _padded(self, mel: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The chunks, with the first frame repeated before them (for silence and context) and the last after them."""
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
    def _condition_block(self, mel: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """(knots, filters) of a block's frames; mel frames that have not arrived are zeros, and their frames unused."""
        block = np.zeros((1, mel.shape[0], BLOCK + 2 * self.context), np.float32)
        block[0, :, : mel.shape[1]] = mel
        with one_torch_thread():
            frames = self.model.condition(torch.from_numpy(block).to(self.model.device), self.speaker)
        knots = frames.signal.knots[0].cpu().numpy()
        if frames.filters is None:
            return [(frame, None) for frame in knots]
        return list(zip(knots, frames.filters[0].cpu().numpy(), strict=True))


class BlockwiseNoise:
    """The distribution's standard noise for an utterance's frames, computed a block at a time."""

    def __init__(self, model: VocoderModel, noise: Noise, first: int) -> None:
        self.distribution, self.hop = model.distribution, model.spec.hop_length
        self.noise, self.first = noise, first
        self.zeros = np.zeros((self.distribution.sampler_spec.choices + 1, self.hop), np.float32)  # of a forced frame
        self._block, self._values = -1, self.zeros

    def __getitem__(self, frame: int) -> np.ndarray:
        """[choices + 1, H] of a frame, counted from `first`."""
        block, offset = divmod(frame, BLOCK)
        if block != self._block:
            uniforms = self.noise.block((self.first + block * BLOCK) * self.hop, BLOCK * self.hop)
            with one_torch_thread():
                self._block, self._values = block, self.distribution.standard_noise(uniforms)[0].numpy()
        return self._values[:, offset * self.hop : (offset + 1) * self.hop]
