"""Upsampling: linear interpolation between frames, and learned stages."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.model.interpolation import LinearUpsample, StagedUpsample, interpolate


def upsampled(upsample: LinearUpsample | StagedUpsample, frames: Tensor) -> Tensor:
    """Frames [B, F + 2 context, C] at the sample rate [B, F H, C]."""
    return interpolate(upsample(frames), upsample.interpolation)


def test_linear_upsampling_is_linear_interpolation_between_frame_centres() -> None:
    for hop in (1, 2, 5, 12, 200):
        frames = torch.randn(2, 9, 3)
        expected = F.interpolate(frames.transpose(1, 2), scale_factor=hop, mode="linear", align_corners=False)
        ours = upsampled(LinearUpsample(hop), frames)
        torch.testing.assert_close(ours, expected[..., hop:-hop].transpose(1, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scales", [(12,), (3, 4), (4, 3), (2, 3, 2), (1, 12), (12, 1), (16, 16), (4, 4, 4, 4)])
def test_a_crop_upsampled_in_stages_equals_the_whole(scales: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    upsample, hop = StagedUpsample(scales), math.prod(scales)
    for kernel in upsample.smoothing:
        torch.nn.init.normal_(kernel)
    context = upsample.context_frames
    frames = torch.randn(2, 9 + 2 * context, 3)
    whole = upsampled(upsample, frames)
    assert whole.shape == (2, 9 * hop, 3)
    crop = upsampled(upsample, frames[:, 2 : 6 + 2 * context])
    torch.testing.assert_close(crop, whole[:, 2 * hop : 6 * hop], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("upsample", [LinearUpsample(12), StagedUpsample((3, 4)), StagedUpsample((2, 3, 2))])
def test_untrained_upsampling_preserves_a_constant(upsample) -> None:
    frames = torch.full((1, 5 + 2 * upsample.context_frames, 2), 3.0)
    torch.testing.assert_close(upsampled(upsample, frames), torch.full((1, 60, 2), 3.0))
