"""What the settings of r9y9's wavenet_vocoder mean, and those that are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.experiments.compare_r9y9 import write_checkpoint
from scripts.experiments.r9y9_variants import VARIANTS, Variant, upsampling
from vocoder.distributions import MixtureOfGaussians, MixtureOfLogistics
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.features.pre_emphasis import PreEmphasis
from vocoder.importers import import_r9y9
from vocoder.importers.r9y9_hparams import Hparams, distribution, mel_spec, pre_emphasis
from vocoder.importers.r9y9_weights import skip_factors

MOL_RECIPE = {  # of the recipe for mixtures of logistics
    **{"sample_rate": 22050, "fft_size": 1024, "hop_size": 256, "win_length": 1024, "num_mels": 80},
    **{"fmin": 125, "fmax": 7600, "out_channels": 30, "log_scale_min": -16.0, "output_distribution": "Logistic"},
    **{"postprocess": "inv_preemphasis", "global_gain_scale": 0.55, "window": "hann"},
}


def changed(folder: Path, changes: dict[str, Any], variant: str = "mixture of logistics") -> Path:
    """A checkpoint whose settings have been changed, but not its weights."""
    path = write_checkpoint(folder, VARIANTS[variant])
    settings = {**VARIANTS[variant].hparams, **changes}
    (folder / "hparams.json").write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"input_type": "mulaw"}, "input_type=mulaw"),
        ({"output_distribution": "Student"}, "output_distribution=Student"),
        ({"out_channels": 8}, "out_channels=8"),
        ({"out_channels": 2}, "out_channels=2"),
        ({"window": "hamming"}, "window=hamming"),
        ({"postprocess": "expand"}, "postprocess=expand"),
        ({"cin_channels": 5}, "cin_channels=5"),
        ({"gin_channels": 4}, "gin_channels=4: speakers that are features"),
        ({"upsample_net": "MelGANUpsample"}, "upsample_net=MelGANUpsample"),
        (upsampling(upsample_activation="Tanh"), "upsample_activation=Tanh"),
        (upsampling(mode="bilinear"), "mode=bilinear"),
        (upsampling(freq_axis_kernel_size=4), "frequency_kernel=4"),
        ({"layers": "six"}, "layers=six"),
        ({"layers": None}, "layers is missing"),
        ({"name": "tacotron"}, "not the settings of r9y9"),
        ({"hop_size": 10}, "multiply to 12"),
        ({"residual_channels": 9}, "first_conv.* is of shape"),
        ({"layers": 8}, "conv_layers.6.* is missing"),
        ({"layers": 4}, "conv_layers.4.*cannot be imported"),
        ({"input_type": "mulaw-quantize", "quantize_channels": 256}, "quantize_channels=256"),
    ],
)
def test_what_cannot_be_imported_is_refused_by_its_name(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = changed(tmp_path, changes)
    with pytest.raises(UserError, match=named) as refused:
        import_r9y9(path, stats="none")
    assert "\n" not in str(refused.value)


def test_the_current_layout_needs_statistics_and_the_older_takes_none(tmp_path: Path) -> None:
    path = changed(tmp_path, {})
    with pytest.raises(UserError, match="give stats=FILE"):
        import_r9y9(path)
    settings = {"name": "wavenet_vocoder", "sample_rate": 16000, "upsample_scales": [3, 4]}
    assert Hparams(settings, "").layout == "0.1.1"
    (tmp_path / "hparams.json").write_text(json.dumps(without_current(VARIANTS["mixture of logistics"])))
    with pytest.raises(UserError, match="leave stats out"):
        import_r9y9(path, stats="none")


def without_current(variant: Variant) -> dict[str, Any]:
    """Its settings, as far as 0.1.1 has them."""
    theirs = ("cin_pad", "output_distribution", "upsample_net", "upsample_params")
    settings = {name: value for name, value in variant.hparams.items() if name not in theirs}
    return {**settings, "upsample_scales": [3, 4]}


def test_the_mel_of_the_recipe_is_its_log10_with_a_centred_hann_window() -> None:
    expected = MelSpec(
        *(22050, 1024, 256, 1024, 80, 125.0, 7600.0),
        padding="centre",
        magnitude_epsilon=0.0,
        log_floor=1e-10,
        log_base="10",
    )
    assert mel_spec(Hparams(MOL_RECIPE, "")) == expected


def test_the_recipes_pre_emphasis_and_gain_are_undone() -> None:
    assert pre_emphasis(Hparams(MOL_RECIPE, "")) == PreEmphasis(0.85, 0.55)
    assert not pre_emphasis(Hparams({**MOL_RECIPE, "postprocess": "", "global_gain_scale": 1.0}, ""))


def test_the_distribution_has_their_floor() -> None:
    assert distribution(Hparams(MOL_RECIPE, "")) == MixtureOfLogistics(10, log_scale_min=-16.0)
    gaussians = {**MOL_RECIPE, "output_distribution": "Normal", "log_scale_min": -9.0}
    assert distribution(Hparams(gaussians, "")) == MixtureOfGaussians(10, log_scale_min=-9.0)


@pytest.mark.parametrize(("halved", "scaled"), [(False, True), (True, False), (False, False)])
def test_skip_factors_give_the_sum_as_it_is_accumulated(halved: bool, scaled: bool) -> None:
    torch.manual_seed(0)
    skips = torch.randn(7, dtype=torch.float64)
    total = skips[0]
    for skip in skips[1:]:
        total = (total + skip) * (0.5**0.5 if halved else 1)
    total = total * (1 / 7) ** 0.5 if scaled else total
    ours = sum(factor * skip for factor, skip in zip(skip_factors(7, halved=halved, scaled=scaled), skips, strict=True))
    assert float(ours) * (1 / 7) ** 0.5 == pytest.approx(float(total), abs=1e-12)
