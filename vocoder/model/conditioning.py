"""From mel frames to conditioning channels.

B batch, F frames, k frames of context on each side, J knots of a frame, C channels.

    mel [B, n_mels, k + F + k]  ->  normalise  ->  convolve over frames  ->  upsample  ->  knots [B, F, J, C]

Nothing is padded here: the caller supplies the context frames, so a crop of an utterance is conditioned exactly as the
whole utterance.
"""

import torch
from torch import Tensor, nn

from vocoder.errors import UserError
from vocoder.model.image_upsample import ImageUpsample
from vocoder.model.interpolation import Interpolation, LinearUpsample, StagedUpsample, hold_knot

Upsample = LinearUpsample | StagedUpsample | ImageUpsample


class MelConditioning(nn.Module):
    """Mel frames as conditioning channels.

    `mean` and `std` [n_mels, 1] of the training data normalise each band; they are part of the model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int, channels: int, context_frames: int, upsample: Upsample):
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
        self.std.copy_(std.clamp(min=1e-3)[:, None])  # a constant band stays finite

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, n_mels, F + 2 context_frames] -> knots [B, F, J, C]."""
        frames = self.convolution((mel - self.mean) / self.std).transpose(1, 2)
        knots: Tensor = self.upsample(frames)
        return knots

    @property
    def interpolation(self) -> Interpolation:
        return self.upsample.interpolation


class NoConditioning(nn.Module):
    """No channels: the mel says how long the sound is, and nothing else."""

    context_frames = 0
    channels = 0

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, n_mels, F] -> knots [B, F, 1, 0]."""
        return mel.new_zeros(mel.shape[0], mel.shape[2], 1, 0)

    @property
    def interpolation(self) -> Interpolation:
        return hold_knot(torch.zeros(self.hop_length, dtype=torch.long))
