"""Upsampling that treats the conditioning as a picture of bands and time, as r9y9's wavenet_vocoder does.

B batch, F frames, H hop length, C bands, s the scale of a stage, f the bands that a kernel spans.

    frames [B, F + 2 context, C]  ->  picture [B, 1, C, time]  ->  stages  ->  [B, F, H, C]

A stage makes s times of each frame, by one of

    repeat       repetition, then a convolution with a kernel [f, 2 s + 1]
    transposed   a transposed convolution with a kernel [f, s] and a bias, in which frames do not overlap

and ends with an activation, if there is one. The result has a knot at every sample.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.errors import UserError
from vocoder.model.interpolation import Interpolation, hold_knot


@dataclass(frozen=True)
class ImageUpsampleConfig:
    """The stages of an `ImageUpsample`."""

    scales: tuple[int, ...]
    stage: Literal["repeat", "transposed"] = "repeat"
    frequency_kernel: int = 1  # bands, an odd number
    activation: Literal["none", "relu", "leaky_relu"] = "none"  # after each stage
    negative_slope: float = 0.01  # of leaky_relu

    def __post_init__(self) -> None:
        where = "model.conditioning.image_upsample"
        if not self.scales or min(self.scales) < 1:
            raise UserError(f"{where}.scales={list(self.scales)}: must be one or more numbers from 1 up")
        if self.frequency_kernel < 1 or self.frequency_kernel % 2 == 0:
            raise UserError(f"{where}.frequency_kernel={self.frequency_kernel}: must be an odd number")


class ImageUpsample(nn.Module):
    """The stages; kernels start as means, so that a constant picture stays as it is."""

    def __init__(self, config: ImageUpsampleConfig) -> None:
        super().__init__()
        self.config = config
        transposed = config.stage == "transposed"
        shapes = [(config.frequency_kernel, s if transposed else 2 * s + 1) for s in config.scales]
        sums = [
            bands if transposed else bands * times for bands, times in shapes
        ]  # of the weights that meet in a value
        self.kernels = nn.ParameterList(
            nn.Parameter(torch.full(shape, 1 / count)) for shape, count in zip(shapes, sums, strict=True)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in shapes if transposed)

    @property
    def hop_length(self) -> int:
        return math.prod(self.config.scales)

    @property
    def context_frames(self) -> int:
        if self.config.stage == "transposed":
            return 0
        steps, rate = 0.0, 1
        for scale in self.config.scales:  # each stage reaches one step of its input
            steps += 1 / rate
            rate *= scale
        return math.ceil(steps)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B, F + 2 context, C] -> knots [B, F, H, C]."""
        picture = frames.transpose(1, 2).unsqueeze(1)  # [B, 1, C, time]
        for index, scale in enumerate(self.config.scales):
            picture = self._activate(self._stage(picture, index, scale))
        margin = self.context_frames * self.hop_length  # what the zero padding touched lies in here
        cropped = picture[:, 0, :, margin : picture.shape[3] - margin]
        return cropped.transpose(1, 2).unflatten(1, (-1, self.hop_length))

    def _stage(self, picture: Tensor, index: int, scale: int) -> Tensor:
        kernel, bands = self.kernels[index][None, None], self.config.frequency_kernel // 2
        if self.config.stage == "transposed":
            return F.conv_transpose2d(picture, kernel, self.biases[index], stride=(1, scale), padding=(bands, 0))
        return F.conv2d(picture.repeat_interleave(scale, dim=3), kernel, padding=(bands, scale))

    def _activate(self, picture: Tensor) -> Tensor:
        if self.config.activation == "none":
            return picture
        slope = 0.0 if self.config.activation == "relu" else self.config.negative_slope
        return F.leaky_relu(picture, slope)

    @property
    def interpolation(self) -> Interpolation:
        return hold_knot(torch.arange(self.hop_length))
