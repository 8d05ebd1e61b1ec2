"""Optional packages: what is missing or broken is named in one line; pyworld needs no pkg_resources."""

import sys
from pathlib import Path

import pytest

from vocoder.errors import UserError
from vocoder.evaluation.packages import is_usable, optional_package


def test_a_package_that_is_there_is_imported() -> None:
    assert optional_package("json").loads("[1]") == [1]
    assert is_usable("json")


def test_a_missing_package_is_named() -> None:
    assert not is_usable("no_such_package")
    with pytest.raises(UserError, match="no_such_package is not installed; pip install no_such_package"):
        optional_package("no_such_package")


def test_a_package_that_cannot_be_imported_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_usable("broken_package")
    with pytest.raises(UserError, match=r"broken_package cannot be imported \(No module named 'no_such_dependency'\)"):
        optional_package("broken_package")


def test_pyworld_is_imported_without_pkg_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    if not is_usable("pyworld"):
        pytest.skip("pyworld is not installed")
    assert optional_package("pyworld") is optional_package("pyworld")
