"""Building a model, and the description that a checkpoint holds."""

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from support.small_model import HOP, SIZES, small_config, small_model

from vocoder.errors import UserError
from vocoder.features.recognition import MelStatistics
from vocoder.features.spec import ADDED_LATER
from vocoder.model.config import (
    ConditioningConfig,
    Level,
    VocoderConfig,
    build_model,
)


@pytest.mark.parametrize("scales", [(4, 4), (), (-3, -4)])
def test_scales_whose_product_is_not_the_hop_are_refused(scales: tuple[int, ...]) -> None:
    product = math.prod(scales)
    with pytest.raises(UserError, match=rf"multiply to {product}.*hop_length is {HOP}"):
        small_model(conditioning=ConditioningConfig("mel", 5, 3, scales))


def test_scales_multiply_to_the_steps_of_a_frame() -> None:
    conditioning = ConditioningConfig("mel", 5, 3, (3, 4))
    with pytest.raises(UserError, match=rf"multiply to 12.*hop_length is {HOP}, which is 6 steps"):
        small_model(conditioning=conditioning, samples_per_step=2, head_context=1)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"samples_per_step": 5, "head_context": 1}, f"samples_per_step=5: must divide the mel's hop_length, {HOP}"),
        ({"samples_per_step": 2}, "samples_per_step=2: the head must hear the samples of a step"),
        ({"samples_per_step": 0}, "samples_per_step=0: must be at least 1"),
        ({"head_context": -1}, "head_context=-1: must be 0 or more"),
    ],
)
def test_impossible_steps_are_refused(steps: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small_model(**steps)


@pytest.mark.parametrize(("scales", "needed"), [(None, 1), ((12,), 1), ((3, 4), 2)])
def test_a_context_too_short_for_the_upsampling_is_refused(scales, needed: int) -> None:
    small_model(conditioning=ConditioningConfig("mel", 5, needed, scales))
    with pytest.raises(UserError, match=f"context_frames={needed - 1}.*takes {needed}"):
        small_model(conditioning=ConditioningConfig("mel", 5, needed - 1, scales))


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"layers": 7}, {"gate_channels": 5}, {"skip_channels": -1}])
def test_impossible_sizes_are_refused_by_name(wrong: dict[str, int]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{name}={value}"):
        replace(SIZES, **wrong)


CONFIGS = [
    small_config(),
    small_config(speakers=("ann", "bob"), speaker_channels=4),
    small_config(conditioning=ConditioningConfig("mel", 5, 3, (3, 4))),
    small_config(conditioning=ConditioningConfig("none")),
    small_config(samples_per_step=4, head_context=3),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_survives_json_and_builds_the_same_model(config: VocoderConfig) -> None:
    read = VocoderConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert read == config
    build_model(read).load_state_dict(build_model(config).state_dict())


def test_a_mel_that_does_not_match_its_hash_is_refused() -> None:
    edited = small_config().to_json()
    edited["mel"]["fmax"] = 7600.0
    with pytest.raises(UserError, match=r"model/config\.json: mel does not match its mel_hash"):
        VocoderConfig.from_json(edited, "model/config.json")


@pytest.mark.parametrize("key", ["format", "mel", "mel_hash", "model", "distribution"])
def test_an_incomplete_description_is_refused(key: str) -> None:
    incomplete = small_config().to_json()
    del incomplete[key]
    with pytest.raises(UserError, match=key):
        VocoderConfig.from_json(incomplete)


def test_an_unknown_distribution_is_refused_with_the_nearest_name() -> None:
    data = small_config().to_json()
    data["distribution"]["kind"] = "mixture_of_logistic"
    with pytest.raises(UserError, match="did you mean mixture_of_logistics"):
        VocoderConfig.from_json(data)


# The contract


def with_contract(config: VocoderConfig) -> VocoderConfig:
    bands = config.mel.n_mels
    statistics = MelStatistics(tuple(-0.1 * band for band in range(bands)), (1.5,) * bands)
    return replace(config, statistics=statistics, level=Level(gain=1.25, peak=0.7))


def test_the_contract_is_kept_with_a_hash(tiny_config: VocoderConfig) -> None:
    config = with_contract(tiny_config)
    data = json.loads(json.dumps(config.to_json()))
    assert VocoderConfig.from_json(data) == config
    assert data["contract"]["sample_rate"] == 16000
    assert data["contract"]["mel_hash"] == config.mel.hash()
    assert data["contract"]["level"] == asdict(Level(gain=1.25, peak=0.7))
    assert data["contract"]["hash"] != tiny_config.to_json()["contract"]["hash"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda contract: contract["statistics"]["mean"].__setitem__(0, 1.0),
        lambda contract: contract["level"].__setitem__("gain", 2.0),
        lambda contract: contract.__setitem__("statistics", None),
    ],
)
def test_an_edited_contract_is_refused(tiny_config: VocoderConfig, edit: Any) -> None:
    data = json.loads(json.dumps(with_contract(tiny_config).to_json()))
    edit(data["contract"])
    with pytest.raises(UserError, match="contract does not match its hash"):
        VocoderConfig.from_json(data)


def test_models_without_a_contract_or_the_later_fields_of_a_mel_are_read(tiny_config: VocoderConfig) -> None:
    data = json.loads(json.dumps(tiny_config.to_json()))
    del data["contract"]
    for name in ADDED_LATER:
        del data["mel"][name]
    assert VocoderConfig.from_json(data) == tiny_config
