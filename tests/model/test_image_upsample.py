"""Upsampling of a picture of bands and time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from support.small_model import small_config

from vocoder.errors import UserError
from vocoder.model import ConditioningConfig, build_model
from vocoder.model.image_upsample import ImageUpsample, ImageUpsampleConfig

CONFIGS = [
    ImageUpsampleConfig((3, 4)),
    ImageUpsampleConfig((12,), frequency_kernel=3),
    ImageUpsampleConfig((2, 3, 2), "repeat", 5, "leaky_relu", 0.3),
    ImageUpsampleConfig((4, 4, 4, 4), "repeat", 3, "relu"),
    ImageUpsampleConfig((3, 4), "transposed", 3, "relu"),
    ImageUpsampleConfig((2, 3, 2), "transposed", 1),
]
every_config = pytest.mark.parametrize("config", CONFIGS, ids=str)


def random_upsample(config: ImageUpsampleConfig) -> ImageUpsample:
    torch.manual_seed(0)
    upsample = ImageUpsample(config)
    for parameter in upsample.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return upsample


@every_config
def test_its_stages_are_those_of_scipy_or_sums_of_kernels(config: ImageUpsampleConfig) -> None:
    upsample = random_upsample(config)
    frames = torch.randn(1, 5 + 2 * upsample.context_frames, 6)
    picture = frames[0].T.double().numpy()
    for index, scale in enumerate(config.scales):
        kernel = upsample.kernels[index].detach().double().numpy()
        if config.stage == "repeat":
            picture = correlate2d(picture.repeat(scale, 1), kernel, mode="same")
        else:
            bands, times = picture.shape
            full = np.zeros((bands + len(kernel) - 1, times * scale))
            for band in range(bands):
                for time in range(times):
                    full[band : band + len(kernel), time * scale : (time + 1) * scale] += picture[band, time] * kernel
            cut = len(kernel) // 2
            picture = full[cut : cut + bands] + upsample.biases[index].item()
        slope = {"none": 1.0, "relu": 0.0, "leaky_relu": config.negative_slope}[config.activation]
        picture = np.where(picture > 0, picture, slope * picture)
    margin = upsample.context_frames * upsample.hop_length
    expected = picture[:, margin : picture.shape[1] - margin].T
    computed = upsample(frames)[0].flatten(0, 1).detach().double().numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-4)


@every_config
def test_a_crop_equals_the_whole(config: ImageUpsampleConfig) -> None:
    upsample, hop = random_upsample(config), math.prod(config.scales)
    context = upsample.context_frames
    frames = torch.randn(2, 9 + 2 * context, 6)
    whole = upsample(frames)
    assert whole.shape == (2, 9, hop, 6)
    crop = upsample(frames[:, 2 : 6 + 2 * context])
    torch.testing.assert_close(crop, whole[:, 2:6], rtol=1e-5, atol=1e-4)


@every_config
def test_untrained_it_preserves_a_constant_away_from_the_outermost_bands(config: ImageUpsampleConfig) -> None:
    upsample = ImageUpsample(config)
    bands = 1 + 2 * len(config.scales) * (config.frequency_kernel // 2)
    computed = upsample(torch.full((1, 5 + 2 * upsample.context_frames, bands), 3.0))
    middle = computed[..., bands // 2]
    torch.testing.assert_close(middle, torch.full_like(middle, 3.0))


def test_scales_that_do_not_multiply_to_the_hop_are_refused() -> None:
    config = small_config(conditioning=ConditioningConfig(image_upsample=ImageUpsampleConfig((3, 5))))
    with pytest.raises(UserError, match=r"image_upsample.scales=\[3, 5\] multiply to 15"):
        build_model(config)


@pytest.mark.parametrize("change", [{"scales": ()}, {"scales": (0, 4)}, {"frequency_kernel": 2}])
def test_impossible_stages_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"model\.conditioning\.image_upsample"):
        replace(CONFIGS[0], **change)
