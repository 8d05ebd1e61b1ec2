"""Text settings keep what was typed."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from vocoder.commands.overrides import as_typed
from vocoder.settings import text_settings

TEXTS = {"name": False, "mel.log_base": False, "hold_out": True}
NUMBERLIKE = ["2024_01_15", "1_000", "1e5", "1.10", "0x1f", "007", "true", "False", "inf", "nan", "-3", "1."]
AWKWARD = [
    "a, b",
    "it's (1)",
    "a=b {c} [d]",
    'say "hi"',
    "[ab",
    "a\\",
    'a\\"b',
    "\\\\",
    " x ",
    "$x %y",
    "arctic_[a-z]+",
]


def read(argument: str) -> object:
    """The value that Hydra passes on."""
    value = OverridesParser.create().parse_override(argument).value()
    return (
        [str(item) if not isinstance(item, bool | int | float) else item for item in value]
        if isinstance(value, list)
        else value
        if value is None or isinstance(value, bool | int | float)
        else getattr(value, "text", value)
    )


@pytest.mark.parametrize("typed", [*NUMBERLIKE, *AWKWARD])
@pytest.mark.parametrize("key", ["name", "+name", "++mel.log_base", "init_from"])
def test_text_stays_as_it_was_typed(key: str, typed: str) -> None:
    assert read(as_typed(f"{key}={typed}", ["init_from"], TEXTS, sweep=False)) == typed


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_stays_as_it_was_typed(typed: str) -> None:
    quoted_already = typed.strip()[:1] in ("'", '"') or typed.strip().lower() == "null" or "${" in typed
    if not quoted_already:
        assert read(as_typed(f"name={typed}", [], TEXTS, sweep=False)) == typed


def test_lists_keep_the_text_of_their_items() -> None:
    items = [*NUMBERLIKE, "plain", "it's", "a (1)"]
    override = as_typed(f"hold_out=[{', '.join(items)}]", [], TEXTS, sweep=False)
    parsed = OverridesParser.create().parse_override(override).value()
    assert [getattr(item, "text", item) for item in parsed] == items
    assert as_typed("hold_out=[]", [], TEXTS, sweep=False) == "hold_out=[]"


def test_quotes_null_and_other_settings_are_left_alone() -> None:
    for argument in ('name="2024_01_15"', "name='a b'", "name=null", "training.seed=1_000", "--cfg", "~name", "name="):
        assert as_typed(argument, [], TEXTS, sweep=False) == argument


def test_in_a_sweep_commas_separate_values() -> None:
    parsed = OverridesParser.create().parse_override(as_typed("name=1_2,plain,'a,b'", [], TEXTS, sweep=True))
    assert [getattr(item, "text", item) for item in parsed.value().list] == ["1_2", "plain", "a,b"]
    assert as_typed("name=choice(a,b)", [], TEXTS, sweep=True) == "name=choice(a,b)"
    assert as_typed("name=1_2,plain", [], TEXTS, sweep=False) == 'name="1_2,plain"'


def test_paths_expand_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/zoë")
    assert read(as_typed("init_from=~/a (b, c)", ["init_from"], {}, sweep=True)) == "/home/zoë/a (b, c)"


@dataclass(frozen=True)
class Inner:
    kind: Literal["e", "10"]
    size: int


@dataclass(frozen=True)
class Outer:
    name: str
    speaker: str | None
    size: int | None
    inner: Inner
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] | None = None
    optional_names: tuple[str, ...] | None = None
    other: dict[str, int] = field(default_factory=dict)


def test_the_text_settings_of_a_config_are_found_in_any_depth() -> None:
    assert text_settings(Outer) == {
        "name": False,
        "speaker": False,
        "inner.kind": False,
        "names": True,
        "optional_names": True,
    }
