"""Settings from plain mappings."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from vocoder.errors import UserError
from vocoder.settings import from_mapping, suggestion


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
    derived: int = field(default=1, init=False)


GOOD: dict[str, Any] = {"steps": 10, "optimizer": {"learning_rate": 1e-3}}


def refusal(**changes: Any) -> str:
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


def test_what_is_left_out_takes_its_default() -> None:
    assert from_mapping(Training, GOOD) == Training(10, Optimizer(1e-3))


def test_a_built_dataclass_is_taken_as_it_is() -> None:
    optimizer = Optimizer(1e-3)
    assert from_mapping(Training, GOOD | {"optimizer": optimizer}).optimizer is optimizer


def test_an_unknown_key_is_named_with_its_nearest_neighbour() -> None:
    assert refusal(stpes=10) == "unknown setting stpes (did you mean steps?)"
    assert (
        refusal(optimizer={"learning_rat": 1}) == "unknown setting optimizer.learning_rat (did you mean learning_rate?)"
    )


def test_an_unknown_key_like_no_other_lists_what_there_is() -> None:
    message = refusal(optimizer={"learning_rate": 1, "zzz": 1})
    assert message == "unknown setting optimizer.zzz (there are: learning_rate, name)"


def test_a_derived_field_and_a_key_that_is_no_text_are_unknown() -> None:
    assert "unknown setting derived" in refusal(derived=2)
    with pytest.raises(UserError, match="unknown setting 3"):
        from_mapping(Training, {3: 1, **GOOD})


def test_a_missing_key_is_named_with_its_place() -> None:
    with pytest.raises(UserError, match=r"^missing setting steps$"):
        from_mapping(Training, {"optimizer": {"learning_rate": 1}})
    assert refusal(optimizer={}) == "missing setting optimizer.learning_rate"
    with pytest.raises(UserError, match=r"^missing setting config\.json\.steps$"):
        from_mapping(Training, {}, where="config.json")


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
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
def test_a_wrong_type_is_named_with_its_place_and_what_is_wanted(
    changes: dict[str, Any], place: str, expected: str
) -> None:
    message = refusal(**changes)
    assert message.startswith(place)
    assert f"must be {expected}" in message


def test_a_whole_number_serves_as_a_number_and_becomes_one() -> None:
    built = from_mapping(Training, GOOD | {"clip": 1})
    assert built.clip == 1.0
    assert isinstance(built.clip, float)


def test_a_name_that_looks_like_a_whole_number_is_text() -> None:
    assert from_mapping(Training, GOOD | {"run": 7}).run == "7"


def test_an_optional_value_may_be_none() -> None:
    assert from_mapping(Training, GOOD | {"clip": None}).clip is None


def test_an_unknown_choice_is_named_with_its_nearest_neighbour() -> None:
    assert refusal(optimizer={"learning_rate": 1, "name": "adamx"}).endswith("(did you mean adamax?)")
    message = refusal(optimizer={"learning_rate": 1, "name": 7})
    assert message == "optimizer.name=7: unknown (there are: adam, adamax)"


@pytest.mark.parametrize("value", [None, [], "steps: 10", 3])
def test_what_is_no_mapping_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="config: must be a mapping"):
        from_mapping(Training, value)


def test_nearest_says_nothing_where_there_is_nothing_to_choose_from() -> None:
    assert suggestion("x", []) == ""
