"""From frames to samples: conditioning channels as straight lines between knots.

B batch, F frames, H hop length, J knots of a frame, C channels.

    frames [B, F + 2 context, C]  ->  knots [B, F, J, C]  ->  interpolate  ->  [B, F H, C]

Whatever depends on the channels linearly can be computed for the knots, of which there are few, and interpolated
afterwards: so training and the cpu engine project the knots into each layer and interpolate the result. The reference
engine interpolates first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Interpolation:
    """Where the H samples of a frame lie between its J knots; the same in every frame."""

    left: Tensor  # [H], index of the knot before
    weights: Tensor  # [H, 2], of that knot and the next


@dataclass(frozen=True)
class PiecewiseLinear:
    """A signal of F H samples, given by its values at the knots."""

    knots: Tensor  # [B, F, J, C]
    interpolation: Interpolation

    def samples(self) -> Tensor:
        """[B, F H, C]."""
        return interpolate(self.knots, self.interpolation)


def interpolate(knots: Tensor, interpolation: Interpolation) -> Tensor:
    """Knots [B, F, J, C] -> samples [B, F H, C]."""
    left, weights = interpolation.left.to(knots.device), interpolation.weights.to(knots.device)
    right = (left + 1).clamp(max=knots.shape[2] - 1)
    return (weights[:, :1] * knots[:, :, left] + weights[:, 1:] * knots[:, :, right]).flatten(1, 2)


class LinearUpsample(nn.Module):
    """Linear interpolation between frames: gives each frame its three knots, which are itself and its two neighbours.

    A frame describes the point `centre` hops into its H samples: 0.5 is their middle, 0 the first of them.
    """

    context_frames = 1
    left: Tensor
    weights: Tensor

    def __init__(self, hop_length: int, centre: float = 0.5) -> None:
        super().__init__()
        position = (torch.arange(hop_length) + 0.5) / hop_length - centre  # from the frame's point, in frames
        triangles = torch.stack([(1 - (position - neighbour).abs()).clamp(min=0) for neighbour in (-1, 0, 1)], 1)
        left = (triangles[:, 0] == 0).long()
        weights = torch.stack([triangles.gather(1, left[:, None] + i)[:, 0] for i in (0, 1)], 1)
        self.register_buffer("left", left, persistent=False)  # [H]
        self.register_buffer("weights", weights, persistent=False)  # [H, 2]

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B, F + 2, C] -> knots [B, F, 3, C]."""
        # contiguous, because bfloat16 products of a strided view round differently
        return frames.unfold(1, 3, 1).transpose(2, 3).contiguous()

    @property
    def interpolation(self) -> Interpolation:
        return Interpolation(self.left, self.weights)


class StagedUpsample(nn.Module):
    """Repetition by each scale in turn, smoothed after each by a learned kernel that all channels share.

    A kernel spans one step of its stage's input to either side and starts as a moving average. The result has a knot at
    every sample.
    """

    def __init__(self, scales: Sequence[int]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.smoothing = nn.ParameterList(
            nn.Parameter(torch.full((2 * scale + 1,), 1 / (2 * scale + 1))) for scale in scales
        )

    @property
    def hop_length(self) -> int:
        return math.prod(self.scales)

    @property
    def context_frames(self) -> int:
        steps, rate = 0.0, 1
        for scale in self.scales:  # each stage reaches one step of its input
            steps += 1 / rate
            rate *= scale
        return math.ceil(steps)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B, F + 2 context, C] -> knots [B, F, H, C]."""
        signal = frames.transpose(1, 2)  # [B, C, time]
        for scale, weights in zip(self.scales, self.smoothing, strict=True):
            repeated = signal.repeat_interleave(scale, dim=2)
            kernel = weights.expand(signal.shape[1], 1, -1)
            signal = F.conv1d(repeated, kernel, padding=scale, groups=signal.shape[1])
        margin = self.context_frames * self.hop_length  # what the zero padding touched lies in here
        cropped = signal[..., margin : signal.shape[2] - margin]
        return cropped.transpose(1, 2).unflatten(1, (-1, self.hop_length))

    @property
    def interpolation(self) -> Interpolation:
        return hold_knot(torch.arange(self.hop_length))


def hold_knot(left: Tensor) -> Interpolation:
    """Every sample takes the value of its knot `left` [H], without interpolation."""
    return Interpolation(left, torch.tensor([[1.0, 0.0]] * len(left)))
