"""The list of utterances in a browser: order, filter, ids."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.example_evaluation import ODD_ID, RECORDINGS, SCRIPT_ID

from vocoder.evaluation.measures import measure_named
from vocoder.evaluation.results import Evaluation

pytestmark = pytest.mark.xdist_group("browser")


def shown_ids(page: Any) -> list[str]:
    return page.locator(".utterance:not([hidden]) h3").all_inner_texts()


def worst_first(evaluation: Evaluation, system: str, name: str) -> list[str]:
    """Ids by selection: again and again the one than which none is worse; those without a value at the end."""
    measure = measure_named(name)
    values = {u.id: u.renditions[system].values.get(name, math.nan) for u in evaluation.utterances}
    left = [id for id, value in values.items() if math.isfinite(value)]
    order = []
    while left:
        worst = next(i for i in left if not any(measure.is_better(values[i], values[other]) for other in left))
        order.append(worst)
        left.remove(worst)
    return order + [id for id, value in values.items() if not math.isfinite(value)]


def test_the_worst_of_the_first_model_comes_first(
    open_page: Callable[..., Any], report: Path, example: tuple[Path, Evaluation]
) -> None:
    page = open_page(report)
    assert page.input_value("#system") == "wavenet-small"
    assert shown_ids(page) == worst_first(example[1], "wavenet-small", page.input_value("#measure"))


@pytest.mark.parametrize("measure", ["log_mel", "mos", "noise_excess", "f0_rmse"])
@pytest.mark.parametrize("system", ["griffin_lim", "wavenet-large"])
def test_any_measure_of_any_system_sorts(
    measure: str, system: str, open_page: Callable[..., Any], report: Path, example: tuple[Path, Evaluation]
) -> None:
    page = open_page(report)
    page.select_option("#measure", measure)
    page.select_option("#system", system)
    expected = worst_first(example[1], system, measure)
    assert shown_ids(page) == expected
    page.select_option("#order", "best")
    if (system, measure) != ("griffin_lim", "f0_rmse"):  # all of which are NaN
        assert shown_ids(page) == expected[::-1]
    page.select_option("#order", "given")
    assert shown_ids(page) == list(RECORDINGS)


def test_the_filter_keeps_ids_that_contain_its_text(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    page.fill("#filter", "MOMENT")
    assert sorted(shown_ids(page)) == ["allison/one-moment-please", "june/one-moment-please"]
    assert page.inner_text("#shown") == "2 of 5 utterances"
    page.fill("#filter", "<script>")
    assert shown_ids(page) == [SCRIPT_ID]
    page.fill("#filter", "nothing of the kind")
    assert shown_ids(page) == []
    page.fill("#filter", "")
    assert len(shown_ids(page)) == 5


def test_odd_ids_are_shown_as_they_are(open_page: Callable[..., Any], report_beside: Path) -> None:
    page = open_page(report_beside)
    assert {SCRIPT_ID, ODD_ID} <= set(shown_ids(page))
    for index in range(5):  # all can be opened, and nothing in them is run
        page.click(f".utterance > summary >> nth={index}")
    page.wait_for_function("document.querySelectorAll('.utterance[open] .play').length === 5")
    page.wait_for_timeout(200)


def test_all_measures_of_an_utterance_are_shown(
    open_page: Callable[..., Any], report: Path, example: tuple[Path, Evaluation]
) -> None:
    page = open_page(report)
    page.select_option("#order", "given")
    page.click(".utterance > summary >> nth=1")
    page.click(".utterance[open] .values > summary")
    row = page.locator(".values tr:has(th:has-text('mel-cepstral distortion')) td").all_inner_texts()
    values = [r.values.get("mcd") for r in example[1].utterances[1].renditions.values()]
    assert row == ["–" if value is None else f"{value:.2f}" for value in values]
    assert page.locator(".values tr:has(th:has-text('F0 RMSE')) td").all_inner_texts()[1] == "–"
