"""From frames to samples: what the network hears of the mel-spectrogram at each sample.

B batch, F frames, k frames of context on each side, H hop length, C channels.

    mel [B, n_mels, k + F + k]  ->  normalise  ->  convolve over frames  ->  upsample  ->  [B, F H, C]

Nothing is padded in here: the caller brings the context frames along, so a crop of an utterance is
conditioned exactly as the whole of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.errors import UserError


@dataclass(frozen=True)
class Motion:
    """How conditioning moves in a frame, the same in all: at each of H samples between two of its J knots."""

    left: Tensor  # [H], the earlier of the two
    weights: Tensor  # [H, 2], of that and of the next


class MelConditioning(nn.Module):
    """Mel frames as conditioning channels at the sample rate.

    `mean` and `std` [n_mels, 1] of the training data normalise each band; they are part of the model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int, channels: int, context_frames: int, upsample: "LinearUpsample | StagedUpsample"):
        super().__init__()
        radius = context_frames - upsample.context_frames
        if radius < 0:
            raise UserError(
                f"model.conditioning.context_frames={context_frames}: this upsampling alone takes "
                f"{upsample.context_frames}; set at least that"
            )
        self.context_frames = context_frames
        self.channels = channels
        self.register_buffer("mean", torch.zeros(n_mels, 1))
        self.register_buffer("std", torch.ones(n_mels, 1))
        self.convolution = nn.Conv1d(n_mels, channels, 2 * radius + 1)
        self.upsample = upsample

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the normalisation from per-band mean and standard deviation [n_mels]."""
        self.mean.copy_(mean[:, None])
        self.std.copy_(std.clamp(min=1e-3)[:, None])  # a band that never moves stays finite

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, n_mels, F + 2 context_frames] -> [B, F H, C]."""
        return self.upsample(self._frames(mel))

    def knots(self, mel: Tensor) -> Tensor:
        """Between which `forward` goes in straight lines, for each frame: [B, F, J, C]; `motion` says how."""
        return self.upsample.knots(self._frames(mel))

    @property
    def motion(self) -> "Motion":
        return self.upsample.motion

    def _frames(self, mel: Tensor) -> Tensor:
        return self.convolution((mel - self.mean) / self.std).transpose(1, 2)


class NoConditioning(nn.Module):
    """No channels at all: the mel says how long the sound is, and nothing else."""

    context_frames = 0
    channels = 0

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, n_mels, F] -> [B, F H, 0]."""
        return mel.new_zeros(mel.shape[0], mel.shape[2] * self.hop_length, 0)

    def knots(self, mel: Tensor) -> Tensor:
        return mel.new_zeros(mel.shape[0], mel.shape[2], 1, 0)

    @property
    def motion(self) -> Motion:
        return Motion(torch.zeros(self.hop_length, dtype=torch.long), torch.tensor([[1.0, 0.0]] * self.hop_length))


class LinearUpsample(nn.Module):
    """Linear interpolation between frames: [B, F + 2, C] -> [B, F H, C].

    A frame speaks of the point `centre` hops into its H samples: 0.5 their middle, 0 the first of them.
    """

    context_frames = 1
    weights: Tensor

    def __init__(self, hop_length: int, centre: float = 0.5) -> None:
        super().__init__()
        self.hop_length = hop_length
        position = (torch.arange(hop_length) + 0.5) / hop_length - centre  # from the frame's point, in frames
        triangles = [(1 - (position - neighbour).abs()).clamp(min=0) for neighbour in (-1, 0, 1)]
        self.register_buffer("weights", torch.stack(triangles, 1), persistent=False)  # [H, 3]

    def forward(self, frames: Tensor) -> Tensor:
        return (self.weights.to(frames.dtype) @ self.knots(frames)).flatten(1, 2)

    def knots(self, frames: Tensor) -> Tensor:
        """A frame and its neighbours: [B, F, 3, C]."""
        return frames.unfold(1, 3, 1).transpose(2, 3)

    @property
    def motion(self) -> Motion:
        left = (self.weights[:, 0] == 0).long()
        return Motion(left, torch.stack([self.weights.gather(1, left[:, None] + i)[:, 0] for i in (0, 1)], 1))


class StagedUpsample(nn.Module):
    """Repetition by each scale in turn, smoothed after each by a learned filter that all channels share.

    The filters span one step of their stage's input to either side and start as a moving average.
    """

    def __init__(self, scales: Sequence[int]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.smoothing = nn.ParameterList(
            nn.Parameter(torch.full((2 * scale + 1,), 1 / (2 * scale + 1))) for scale in scales
        )

    @property
    def context_frames(self) -> int:
        steps, rate = 0.0, 1
        for scale in self.scales:  # each stage reaches one step of its input
            steps += 1 / rate
            rate *= scale
        return math.ceil(steps)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B, F + 2 context, C] -> [B, F H, C]."""
        signal = frames.transpose(1, 2)  # [B, C, time]
        for scale, filter in zip(self.scales, self.smoothing, strict=True):
            repeated = signal.repeat_interleave(scale, dim=2)
            kernel = filter.expand(signal.shape[1], 1, -1)
            signal = F.conv1d(repeated, kernel, padding=scale, groups=signal.shape[1])
        margin = self.context_frames * self.hop_length  # what the zero padding touched is in here
        return signal[..., margin : signal.shape[2] - margin].transpose(1, 2)

    def knots(self, frames: Tensor) -> Tensor:
        """Every sample: [B, F, H, C]."""
        return self(frames).unflatten(1, (-1, self.hop_length))

    @property
    def motion(self) -> Motion:
        return Motion(torch.arange(self.hop_length), torch.tensor([[1.0, 0.0]] * self.hop_length))

    @property
    def hop_length(self) -> int:
        return math.prod(self.scales)
