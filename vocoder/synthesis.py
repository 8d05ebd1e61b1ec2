"""What a user of the library calls: mel in, wave out.

vocoder = load("runs/my_voice")
mel = vocoder.mel(waveform, sample_rate)
waveform = vocoder.synthesize(mel, seed=0)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder.audio import grid_to_int16, int16_to_waveform, resample
from vocoder.device import pick_device
from vocoder.engines import Noise, ReferenceEngine
from vocoder.errors import UserError
from vocoder.mel import MelSpec, check_mel, log_mel
from vocoder.model import Conditioning, VocoderModel, extend_edges, find_checkpoint, load_model

BLOCK_FRAMES = 32  # conditioning is computed this far ahead, so memory does not grow with length


@dataclass(frozen=True)
class Request:
    """One utterance to be synthesised; its noise is a function of the seed and its `id`."""

    id: str
    mel: np.ndarray  # [n_mels, F]
    speaker: str | None = None


class Vocoder:
    """A trained model, ready to turn mels into waveforms."""

    def __init__(self, model: VocoderModel) -> None:
        self.model = model
        self.engine = ReferenceEngine(model)

    @property
    def spec(self) -> MelSpec:
        """The mel contract: what the model takes."""
        return self.model.spec

    @property
    def sample_rate(self) -> int:
        return self.spec.sample_rate

    def mel(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """The model's own log-mel [n_mels, F] of a mono waveform [T] in [-1, 1].

        Raises:
            UserError: the waveform is not mono, too short, or has NaN or infinite values.
        """
        waveform = np.asarray(waveform, np.float32)
        if waveform.ndim != 1:
            raise UserError(f"a waveform has one axis [samples]; this one has shape {list(waveform.shape)}")
        if not np.isfinite(waveform).all():
            raise UserError("this waveform has NaN or infinite values")
        resampled = resample(waveform, sample_rate, self.sample_rate)
        return log_mel(torch.from_numpy(resampled), self.spec).numpy()

    def synthesize(
        self,
        mel: np.ndarray | Tensor,
        seed: int = 0,
        *,
        temperature: float = 1.0,
        speaker: str | None = None,
        id: str = "",
    ) -> np.ndarray:
        """A float32 waveform [F * hop_length] from a log-mel [n_mels, F].

        The same mel, seed and id give the same waveform.

        Raises:
            UserError: the mel cannot be of this model's spec, or the speaker is unknown.
        """
        if isinstance(mel, Tensor):
            mel = mel.detach().cpu().numpy()
        request = Request(id, np.asarray(mel, np.float32), speaker)
        return int16_to_waveform(self.synthesize_batch([request], seed, temperature=temperature)[0])

    def synthesize_batch(
        self,
        requests: Sequence[Request],
        seed: int = 0,
        *,
        temperature: float = 1.0,
        progress: Callable[[int], None] = lambda samples: None,
    ) -> list[np.ndarray]:
        """int16 waves [F * hop_length] of several utterances, generated in step.

        `progress` is called with the samples that each block added. Raises UserError as `synthesize`.
        """
        if not 0 < temperature < float("inf"):
            raise UserError(f"temperature={temperature}: must be above 0")
        for request in requests:
            check_mel(torch.from_numpy(request.mel), self.spec)
        frames = [request.mel.shape[1] for request in requests]
        padded = [np.pad(r.mel, ((0, 0), (0, max(frames) - r.mel.shape[1])), mode="edge") for r in requests]
        device = self.model.device
        mel = torch.from_numpy(np.stack(padded)).to(device)
        speaker = self._speakers(requests)
        noise = Noise(seed, [request.id for request in requests], self.model.distribution.uniforms)
        history = silence_conditioning(self.model, mel, speaker)
        blocks = []
        for block in self.engine.generate(history, conditioning_blocks(self.model, mel, speaker), noise, temperature):
            blocks.append(grid_to_int16(block.cpu().numpy()))
            progress(block.numel())
        wave = np.concatenate(blocks, 1)
        return [wave[i, : count * self.spec.hop_length] for i, count in enumerate(frames)]

    def _speakers(self, requests: Sequence[Request]) -> Tensor | None:
        indices = [self.model.speaker_index(request.speaker) for request in requests]
        known = [index for index in indices if index is not None]
        return torch.cat(known) if known else None


@torch.inference_mode()
def silence_conditioning(model: VocoderModel, mel: Tensor, speaker: Tensor | None) -> Tensor:
    """What the network hears of the mel in the silence before utterances with mel [B, n_mels, F].

    Conditioning channels [B, the network's receptive field - 1, C].
    """
    before = model.history_frames + model.context_frames
    extended = extend_edges(mel, before, model.context_frames)
    channels = model.condition(extended[..., : before + model.context_frames], speaker).channels
    return channels[:, channels.shape[1] - (model.wavenet.receptive_field - 1) :]


@torch.inference_mode()
def conditioning_blocks(model: VocoderModel, mel: Tensor, speaker: Tensor | None) -> Iterator[Conditioning]:
    """Conditioning of mel [B, n_mels, F], at the sample rate, a few frames at a time."""
    context = model.context_frames
    extended = extend_edges(mel, context, context)
    for first in range(0, mel.shape[2], BLOCK_FRAMES):
        last = min(first + BLOCK_FRAMES, mel.shape[2])
        yield model.condition(extended[..., first : last + 2 * context], speaker)


def load(path: str | Path, device: str = "auto") -> Vocoder:
    """The vocoder in a training run (its best checkpoint), a checkpoint, or a shipped model.

    Raises:
        UserError: nothing there is a whole, undamaged model.
    """
    return Vocoder(load_model(find_checkpoint(Path(path)), pick_device(device)))
