"""The doctor's page: complete, inert, and independent of any network."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
from doctor.test_diagnosis import GOOD, UNREADABLE

from vocoder.doctor import diagnose, write_page
from vocoder.errors import UserError

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    bad = replace(GOOD, id=SCRIPT, speaker="<b>ann</b>", impulses=2)
    diagnosis = diagnose("/c<i>", "folder", [replace(GOOD, speaker="bob", content="b"), bad, UNREADABLE])
    return write_page(tmp_path_factory.mktemp("page"), diagnosis, ["vocoder-train data='<u>'"]).read_text("utf-8")


def test_names_are_text_and_never_markup(page: str) -> None:
    for name in (SCRIPT, "<b>ann", "/c<i>", "'<u>'"):
        assert name not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_the_page_names_no_address_of_a_network_and_has_a_policy(page: str) -> None:
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", page)
    assert not re.search(r"\s(on\w+|style)=", page)


def test_the_page_has_findings_speakers_histograms_and_commands(page: str) -> None:
    assert "Damaged samples" in page
    assert "2 samples" in page
    assert UNREADABLE.problem in page
    assert "bob" in page
    assert page.count("<svg") == 8
    assert "vocoder-train" in page


def test_a_page_can_be_written_of_nothing_usable(tmp_path: Path) -> None:
    text = write_page(tmp_path, diagnose("/c", "folder", [UNREADABLE]), []).read_text("utf-8")
    assert "No recording is usable." in text
    assert "<svg" not in text


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_page(tmp_path / "file/folder", diagnose("/c", "folder", [GOOD]), [])
