"""The page as a file: complete, safe, and independent of any network."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.example_evaluation import ODD_ID, SCRIPT_ID

from vocoder.errors import UserError
from vocoder.evaluation.results import Evaluation, System
from vocoder.report import write_report


class Elements(HTMLParser):
    """All elements with their attributes and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        if tag not in ("meta", "link", "br", "input", "img"):
            self.open.append(len(self.found) - 1)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.found[self.open.pop()][0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[self.open[-1]][2].append(data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.found if name == tag]


@pytest.fixture(scope="module")
def elements(report: Path) -> Elements:
    return Elements(report.read_text(encoding="utf-8"))


def test_the_only_script_and_style_are_those_of_the_policy(elements: Elements) -> None:
    (policy,) = [a["content"] for a, _ in elements.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    scripts = [text for attributes, text in elements.of("script") if attributes.get("type") != "application/json"]
    (style,) = [text for _, text in elements.of("style")]
    assert len(scripts) == 1
    for text in (scripts[0], style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_names_no_address_of_a_network(report: Path, elements: Elements) -> None:
    for _, attributes, _ in elements.found:
        for name in ("src", "href", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert not [name for name in attributes if name.startswith("on")]
    without_data = re.sub(r"base64,[A-Za-z0-9+/=]+", "", report.read_text(encoding="utf-8"))
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", without_data.replace("http://www.w3.org/2000/svg", ""))


def test_ids_are_text_and_never_markup(report: Path, elements: Elements) -> None:
    assert "<script>alert" not in report.read_text(encoding="utf-8")
    (data,) = [text for attributes, text in elements.of("script") if attributes.get("id") == "report-data"]
    assert [u["id"] for u in json.loads(data)["utterances"]][:2] == [SCRIPT_ID, ODD_ID]
    assert any(ODD_ID in text and "<b>b</b>" in text for _, text in elements.of("li"))
    assert ("<b>&amp;") in [text for _, text in elements.of("dd")]
    assert not elements.of("b")


def test_everything_is_inside(elements: Elements, example: tuple[Path, Evaluation]) -> None:
    blocks = [json.loads(text) for a, text in elements.of("script") if (a.get("id") or "").startswith("media-")]
    assert len(blocks) == len(example[1].utterances)
    for block in blocks:
        assert set(block["versions"]) == {system.name for system in example[1].systems}
        for version in block["versions"].values():
            assert all(version[kind].startswith("data:") for kind in ("audio", "wave", "mel"))


def test_every_value_that_is_missing_or_nan_is_a_dash(elements: Elements) -> None:
    cells = [text.strip() for _, text in elements.of("span") if _.get("class") == "mean"]
    assert "–" in cells
    assert not {"nan", "None", "", "inf"} & set(cells)


def test_summary_settings_details_and_failures_are_there(report: Path, example: tuple[Path, Evaluation]) -> None:
    text = report.read_text(encoding="utf-8")
    interval = example[1].summary("wavenet-small", "log_mel")
    assert interval is not None
    assert f'<span class="mean">{interval.mean:.2f}</span>' in text
    assert f"{interval.low:.2f} to {interval.high:.2f}" in text
    for words in ("real-time factor: 2.35", "runs/small, runs/large", "Kong et al. 2020", "Failures (1)"):
        assert words in text


def test_the_limit_holds_and_is_stated(example: tuple[Path, Evaluation], report: Path) -> None:
    folder, evaluation = example
    everything = report.stat().st_size
    none = write_report(folder, evaluation, embed_limit=0).stat().st_size
    limit = (everything - none) // 2
    written = write_report(folder, evaluation, embed_limit=limit)
    assert written.stat().st_size <= none + limit
    text = written.read_text(encoding="utf-8")
    stated = re.search(r"pictures of (\d) of 5 utterances are inside this file, which was limited to ([\d.]+) MB", text)
    assert stated
    assert 0 < int(stated[1]) < 5
    assert float(stated[2]) == pytest.approx(limit / 1e6, rel=0.01)


@pytest.mark.parametrize("systems", [["original"], ["wavenet-small"], ["griffin_lim", "wavenet-small"]])
def test_a_page_is_written_whatever_the_systems(
    systems: list[str], example: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    folder, evaluation = example
    (tmp_path / "wavs").symlink_to(folder / "wavs")
    utterance = evaluation.utterances[2]
    few = replace(utterance, speaker=None, renditions={name: utterance.renditions[name] for name in systems})
    chosen = [system for system in evaluation.systems if system.name in systems]
    path = write_report(tmp_path, Evaluation(chosen, [few], {}))
    assert path == tmp_path / "report.html"
    assert 'id="failures"' not in path.read_text(encoding="utf-8")


def test_an_evaluation_without_measures_or_utterances_is_a_page(tmp_path: Path) -> None:
    path = write_report(tmp_path, Evaluation([System("original", "original")], [], {}))
    assert "No measures were computed" in path.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_a_user_error(example: tuple[Path, Evaluation], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_report(tmp_path / "file", replace(example[1], utterances=[]))
