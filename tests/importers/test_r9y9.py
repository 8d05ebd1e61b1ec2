"""Imported networks compute what theirs compute: of the current layout in NumPy, of 0.1.1 in the package from PyPI."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from scripts.experiments.compare_r9y9 import (
    engine_params,
    expected_params,
    forward_params,
    imported,
    random_mels,
    random_waves,
)
from scripts.experiments.r9y9_variants import VARIANTS, Variant
from vocoder.engines import ReferenceEngine, pick_engine


def variants(*names: str) -> pytest.MarkDecorator:
    """Some variants, or all; those of 0.1.1 need its package."""
    package = pytest.mark.skipif(find_spec("wavenet_vocoder") is None, reason="wavenet-vocoder 0.1.1 is not installed")
    chosen = names or tuple(VARIANTS)
    marked = []
    for name in chosen:
        marks = [package] * name.startswith("0.1.1") + [pytest.mark.slow] * ("size" in name.replace("kernel_size", ""))
        marked.append(pytest.param(VARIANTS[name], id=name, marks=marks))
    return pytest.mark.parametrize("variant", marked)


@variants()
@pytest.mark.parametrize("seed", [0, 1])
def test_the_forward_pass_computes_their_parameters(variant: Variant, seed: int, tmp_path: Path) -> None:
    model = imported(tmp_path, variant, seed).model
    waves, mel = random_waves(model), random_mels(model)
    expected = expected_params(tmp_path, variant, model, waves, mel, seed)
    assert expected.std(1).mean() > 0.02  # over time: a constant would prove nothing
    computed = forward_params(model, waves, mel)
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-4)


@variants()
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_an_engine_computes_their_parameters_sample_by_sample(variant: Variant, engine: str, tmp_path: Path) -> None:
    model = imported(tmp_path, variant).model
    waves, mel = random_waves(model), random_mels(model)
    expected = expected_params(tmp_path, variant, model, waves, mel)
    made = ReferenceEngine(model) if engine == "reference" else pick_engine(model, "cpu")
    computed = engine_params(made, waves, mel)
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-4)


# At the size of the downloads the package takes minutes, sample by sample; the forward pass has been compared above.
@variants(*(name for name in VARIANTS if name.startswith("0.1.1") and "downloads" not in name))
def test_the_package_itself_generates_from_the_same_parameters(variant: Variant, tmp_path: Path) -> None:
    """Its generation conditions a sample on the frame of that sample, as ours does."""
    model = imported(tmp_path, variant).model
    waves, mel = random_waves(model), random_mels(model)
    expected = expected_params(tmp_path, variant, model, waves, mel, incremental=True)
    assert expected.std(1).mean() > 0.02  # over time: a constant would prove nothing
    computed = forward_params(model, waves, mel)
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-4)
