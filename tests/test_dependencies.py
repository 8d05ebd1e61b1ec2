"""Every dependency is locked in constraints.txt, in a version that pyproject.toml admits."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
WANTED = sorted({*PROJECT["dependencies"], *(wanted for extra in EXTRAS for wanted in extra)})


def locked() -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {canonicalize_name(pinned.name): pinned for pinned in map(Requirement, filter(None, lines))}


@pytest.mark.parametrize("wanted", WANTED)
def test_a_dependency_is_locked_within_its_range(wanted: str) -> None:
    requirement = Requirement(wanted)
    (pin,) = locked()[canonicalize_name(requirement.name)].specifier
    assert pin.operator == "=="
    assert requirement.specifier.contains(pin.version)


@pytest.mark.parametrize(("python", "applies"), [("3.11", True), ("3.13", True), ("3.14", False)])
def test_the_lock_is_for_the_pythons_it_was_checked_on(python: str, applies: bool) -> None:
    markers = [pinned.marker for pinned in locked().values()]
    assert all(marker is not None and marker.evaluate({"python_version": python}) == applies for marker in markers)
