"""Dataclasses from plain mappings, and the errors for mappings that do not fit."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from vocoder.errors import UserError
from vocoder.settings import differences, flatten, from_mapping, suggestion


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float
    name: Literal["adam", "adamax"] = "adam"


@dataclass(frozen=True)
class Training:
    steps: int
    optimizer: Optimizer
    clip: float | None = None
    scales: tuple[int, ...] = ()
    layers: tuple[Optimizer, ...] = ()
    resume: bool = False
    run: str = "run"
    extra: dict[str, Any] = field(default_factory=dict)
    peak: float | Literal["auto"] | None = "auto"
    derived: int = field(default=1, init=False)


GOOD: dict[str, Any] = {"steps": 10, "optimizer": {"learning_rate": 1e-3}}


def error_message(**changes: Any) -> str:
    """The message of the UserError for GOOD with these changes."""
    with pytest.raises(UserError) as caught:
        from_mapping(Training, GOOD | changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_full_mapping_becomes_the_dataclass() -> None:
    built = from_mapping(
        Training,
        {
            "steps": 10,
            "optimizer": {"learning_rate": 1e-3, "name": "adamax"},
            "clip": 0.5,
            "scales": [4, 5, 10],
            "layers": [{"learning_rate": 1.0}],
            "resume": True,
            "run": "voice",
            "extra": {"anything": [1]},
        },
    )
    expected = Training(
        10, Optimizer(1e-3, "adamax"), 0.5, (4, 5, 10), (Optimizer(1.0),), True, "voice", {"anything": [1]}
    )
    assert built == expected
    assert isinstance(built.scales, tuple)


@pytest.mark.parametrize("value", [None, "auto", 0.5])
def test_a_setting_can_be_a_number_or_a_word(value: Any) -> None:
    assert from_mapping(Training, GOOD | {"peak": value}).peak == value
    assert error_message(peak="high") == "peak='high': must be a number or auto"


def test_missing_fields_take_their_defaults() -> None:
    assert from_mapping(Training, GOOD) == Training(10, Optimizer(1e-3))


def test_a_value_that_is_already_a_dataclass_is_kept() -> None:
    optimizer = Optimizer(1e-3)
    assert from_mapping(Training, GOOD | {"optimizer": optimizer}).optimizer is optimizer


def test_an_unknown_key_is_reported_with_the_closest_one() -> None:
    assert error_message(stpes=10) == "unknown setting stpes (did you mean steps?)"
    message = error_message(optimizer={"learning_rat": 1})
    assert message == "unknown setting optimizer.learning_rat (did you mean learning_rate?)"


def test_an_unknown_key_without_a_close_one_is_reported_with_all_keys() -> None:
    message = error_message(optimizer={"learning_rate": 1, "zzz": 1})
    assert message == "unknown setting optimizer.zzz (available: learning_rate, name)"


def test_a_derived_field_and_a_key_that_is_not_a_string_are_unknown() -> None:
    assert "unknown setting derived" in error_message(derived=2)
    with pytest.raises(UserError, match="unknown setting 3"):
        from_mapping(Training, {3: 1, **GOOD})


def test_a_missing_key_is_reported_with_its_prefix() -> None:
    with pytest.raises(UserError, match=r"^missing setting steps$"):
        from_mapping(Training, {"optimizer": {"learning_rate": 1}})
    assert error_message(optimizer={}) == "missing setting optimizer.learning_rate"
    with pytest.raises(UserError, match=r"^missing setting config\.json\.steps$"):
        from_mapping(Training, {}, prefix="config.json")


@pytest.mark.parametrize(
    ("changes", "setting", "expected"),
    [
        ({"steps": "10"}, "steps='10'", "a whole number"),
        ({"steps": 10.0}, "steps=10.0", "a whole number"),
        ({"steps": True}, "steps=True", "a whole number"),
        ({"steps": None}, "steps=None", "a whole number"),
        ({"clip": "small"}, "clip='small'", "a number"),
        ({"clip": True}, "clip=True", "a number"),
        ({"resume": 1}, "resume=1", "true or false"),
        ({"run": 3.5}, "run=3.5", "text"),
        ({"run": True}, "run=True", "text"),
        ({"scales": 4}, "scales=4", "a list"),
        ({"scales": "4,5"}, "scales='4,5'", "a list"),
        ({"scales": [4, "5"]}, "scales[1]='5'", "a whole number"),
        ({"optimizer": {"learning_rate": "1e-3"}}, "optimizer.learning_rate='1e-3'", "a number"),
        ({"layers": [{"learning_rate": 1}, {"learning_rate": []}]}, "layers[1].learning_rate=[]", "a number"),
        ({"optimizer": "adam"}, "optimizer:", "a mapping"),
        ({"optimizer": None}, "optimizer:", "a mapping"),
        ({"extra": 3}, "extra=3", "a mapping"),
    ],
)
def test_a_wrong_type_is_reported_with_the_setting_and_the_expected_type(
    changes: dict[str, Any], setting: str, expected: str
) -> None:
    message = error_message(**changes)
    assert message.startswith(setting)
    assert f"must be {expected}" in message


def test_an_int_is_converted_to_float() -> None:
    built = from_mapping(Training, GOOD | {"clip": 1})
    assert built.clip == 1.0
    assert isinstance(built.clip, float)


def test_an_int_is_converted_to_str() -> None:
    assert from_mapping(Training, GOOD | {"run": 7}).run == "7"


def test_an_optional_value_may_be_none() -> None:
    assert from_mapping(Training, GOOD | {"clip": None}).clip is None


def test_an_unknown_choice_is_reported_with_the_closest_or_all() -> None:
    assert error_message(optimizer={"learning_rate": 1, "name": "adamx"}).endswith("(did you mean adamax?)")
    message = error_message(optimizer={"learning_rate": 1, "name": 7})
    assert message == "optimizer.name=7: unknown (available: adam, adamax)"


@pytest.mark.parametrize("value", [None, [], "steps: 10", 3])
def test_anything_but_a_mapping_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="config: must be a mapping"):
        from_mapping(Training, value)


def test_without_candidates_there_is_no_suggestion() -> None:
    assert suggestion("x", []) == ""


def test_differences_name_every_value_that_changed_or_exists_once() -> None:
    before = {"a": {"b": 1, "c": 2}, "d": [1]}
    now = {"a": {"b": 1, "c": 3}, "e": None, "d": [1, 2]}
    assert sorted(differences(before, now)) == ["a.c 2 then, 3 now", "d [1] then, [1, 2] now"]
    assert sorted(differences(before, {}, "x.")) == ["x.a {'b': 1, 'c': 2} then, None now", "x.d [1] then, None now"]


def test_flatten_gives_nested_fields_dotted_names() -> None:
    flat = flatten(Training(10, Optimizer(1e-3), scales=(4, 5)))
    assert flat["optimizer.learning_rate"] == 1e-3
    assert flat["scales"] == (4, 5)
    assert "optimizer" not in flat
