"""The blind comparison in a browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from support.browser import wait_until
from support.example_evaluation import RECORDINGS

pytestmark = pytest.mark.xdist_group("browser")
MODELS = {"wavenet-small", "wavenet-large"}


@pytest.fixture
def page(open_page: Callable[..., Any], report: Path) -> Any:
    return open_page(report)


@pytest.mark.parametrize("trials", [0, 1, 2, 5, 20, 101, 3000])
def test_the_p_value_is_that_of_scipy(trials: int, page: Any) -> None:
    for successes in sorted({0, 1, trials // 3, trials // 2, trials} & set(range(trials + 1))):
        expected = binomtest(successes, trials).pvalue if trials else 1.0
        found = page.evaluate(f"binomialTest({successes}, {trials})")
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_every_order_is_equally_likely(page: Any) -> None:
    counts = page.evaluate(
        """() => {
            const counts = {};
            for (let round = 0; round < 6000; round++) {
                const order = shuffled(["a", "b", "c"]).join("");
                counts[order] = (counts[order] ?? 0) + 1;
            }
            return counts;
        }"""
    )
    assert len(counts) == 6
    assert all(abs(count - 1000) < 150 for count in counts.values())  # five standard deviations


def test_answers_are_saved_and_tested(page: Any, tmp_path: Path) -> None:
    page.fill("[name=listener]", "Ann <b>")
    page.click("#preference [type=submit]")
    assert not any(name in page.inner_text("#stage") for name in (*MODELS, *RECORDINGS))
    for choice in ("A", "B", "none", "A", "B"):
        page.click(f"[data-choice={choice}]")
    with page.expect_download() as download:
        page.click("text=Download answers")
    assert download.value.suggested_filename == "preferences.json"
    download.value.save_as(tmp_path / "preferences.json")
    saved = json.loads((tmp_path / "preferences.json").read_text())
    assert saved["listener"] == "Ann <b>"
    assert set(saved["systems"]) == MODELS
    assert {answer["utterance"] for answer in saved["answers"]} == set(RECORDINGS)
    for answer, choice in zip(saved["answers"], ("A", "B", "none", "A", "B"), strict=True):
        assert {answer["a"], answer["b"]} == MODELS
        assert answer["choice"] == choice
        assert answer["preferred"] == {"A": answer["a"], "B": answer["b"], "none": None}[choice]
    wins = [sum(answer["preferred"] == name for answer in saved["answers"]) for name in saved["systems"]]
    assert saved["preferred"] == dict(zip(saved["systems"], wins, strict=True))
    assert saved["no_preference"] == 1
    assert saved["p_value"] == pytest.approx(binomtest(wins[0], 4).pvalue)
    assert f"p = {saved['p_value']:.3f}" in page.inner_text(".verdict")


def test_versions_are_played_under_the_names_they_were_answered_by(page: Any) -> None:
    page.click("#preference [type=submit]")
    played, trial = page.evaluate("[preferenceTest.transport.versions, preferenceTest.session.trials[0]]")
    media = page.evaluate(f"readJson('media-{trial['utterance']}').versions")
    assert [version["label"] for version in played] == ["A", "B"]
    assert [version["uri"] for version in played] == [media[name]["audio"] for name in trial["order"]]
    assert page.is_checked("#stage .check:has-text('Equal loudness') input")


def test_it_works_by_keyboard_alone(page: Any) -> None:
    page.focus("#preference [type=submit]")
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    assert page.inner_text("#stage .version-button[aria-pressed=true]").endswith("B")
    page.keyboard.press("Space")
    wait_until(page, "preferenceTest.transport.playback.playing")
    for key in "banba":
        page.keyboard.press(key)
    assert page.inner_text("#stage h3") == "Result"
    choices = page.evaluate("preferenceTest.session.answers.map((answer) => answer.choice)")
    assert choices == ["B", "A", "none", "B", "A"]


def test_a_comparison_goes_on_after_the_page_was_closed(page: Any) -> None:
    page.click("#preference [type=submit]")
    page.click("[data-choice=A]")
    page.click("[data-choice=B]")
    page.reload()
    page.click("text=Continue at pair 3 of 5")
    assert page.inner_text("#stage h3") == "Pair 3 of 5"


def test_it_works_where_the_browser_stores_nothing(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    page.evaluate("Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })")
    page.fill("[name=pairs]", "1")
    page.click("#preference [type=submit]")
    page.click("[data-choice=none]")
    assert "p = 1.000" in page.inner_text(".verdict")


def test_a_system_is_not_compared_with_itself(page: Any) -> None:
    page.select_option("[name=one]", "griffin_lim")
    page.select_option("[name=two]", "griffin_lim")
    page.click("#preference [type=submit]")
    assert page.inner_text("#preference-message") == "Choose two different systems."
