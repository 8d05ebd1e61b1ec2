"""What the tables say."""

import json
import math

import pytest

from vocoder.evaluation.measures import MEASURES
from vocoder.evaluation.results import Evaluation, Rendition, System, Utterance
from vocoder.report.content import (
    FAMILIES,
    Cell,
    bits_tables,
    duration,
    first_system,
    number,
    page_data,
    summary_tables,
)

SYSTEMS = [System("original", "original"), System("a", "model"), System("b", "baseline")]


def evaluation_of(*values: dict[str, dict[str, float]], systems: list[System] = SYSTEMS) -> Evaluation:
    """An utterance for each mapping from systems to values."""
    utterances = [
        Utterance(f"u{index}", 1.0, None, {name: Rendition(f"{name}.wav", found) for name, found in by_system.items()})
        for index, by_system in enumerate(values)
    ]
    return Evaluation(systems, utterances, {})


def cells(evaluation: Evaluation, measure: str) -> dict[str, Cell]:
    for table in summary_tables(evaluation):
        for index, column in enumerate(table.columns):
            if column.name == measure:
                return {system.name: row[index] for system, row in table.rows}
    raise AssertionError(f"no column {measure}")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        *((1.25, 1, "1.2"), (-3.0, 2, "−3.00"), (-0.001, 2, "0.00"), (0.0, 0, "0"), (1e6, 0, "1000000")),
        *((None, 2, "–"), (math.nan, 2, "–"), (math.inf, 2, "–"), (-math.inf, 2, "–")),
    ],
)
def test_numbers(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(("seconds", "text"), [(6.64, "6.6 seconds"), (150, "2.5 minutes"), (9000, "2.5 hours")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_measure_has_its_family() -> None:
    assert sorted(name for names in FAMILIES.values() for name in names) == sorted(m.name for m in MEASURES)


@pytest.mark.parametrize(
    ("measure", "a", "b", "best"), [("log_mel", 1.0, 2.0, "a"), ("stoi", 0.5, 0.9, "b"), ("dc", -3.0, 1.0, "b")]
)
def test_the_best_system_follows_the_direction_of_the_measure(measure: str, a: float, b: float, best: str) -> None:
    found = cells(evaluation_of({"original": {measure: 0.0}, "a": {measure: a}, "b": {measure: b}}), measure)
    assert [name for name, cell in found.items() if cell.best] == [best]


def test_nothing_is_best_where_all_are_equal_or_alone() -> None:
    alone = evaluation_of({"original": {"clicks": 0.0}, "a": {"clicks": 1.0}})
    equal = evaluation_of({"a": {"clicks": 1.0}, "b": {"clicks": 1.0}})
    assert not any(cell.best for evaluation in (alone, equal) for cell in cells(evaluation, "clicks").values())


def test_values_that_are_not_numbers_are_dashes_and_never_best() -> None:
    evaluation = evaluation_of({"a": {"log_mel": math.nan, "stoi": 1.0}, "b": {"log_mel": 3.0}, "original": {}})
    found = cells(evaluation, "log_mel")
    assert found["a"] == Cell("–")
    assert found["b"].mean == "3.00"
    assert json.dumps(page_data(evaluation), allow_nan=False)


def test_a_mean_of_some_utterances_says_of_how_many() -> None:
    found = cells(evaluation_of({"a": {"stft": 1.0}, "b": {"stft": 2.0}}, {"a": {"stft": 2.0}, "b": {}}), "stft")
    assert found["a"].mean == "1.500"
    assert found["a"].interval == "1.000 to 2.000"
    assert found["a"].count == ""
    assert found["b"].count == "n = 1"
    assert found["b"].interval == ""


def test_the_spread_over_seeds_is_shown() -> None:
    seeds = [{"mos": 3.0}, {"mos": 3.2}]  # standard deviation 0.1 sqrt(2)
    utterance = Utterance("u", 1.0, None, {"a": Rendition("a.wav", {"mos": 3.1}, by_seed=seeds)})
    assert cells(Evaluation(SYSTEMS, [utterance], {}), "mos")["a"].seeds == "±0.14"


def test_bits_are_tabulated_by_level_and_by_speaker_where_there_are_any() -> None:
    levels = {"quiet": (30.0, 10), "loud": (80.0, 10)}
    rendition = Rendition("a.wav", {"bits": 5.5}, bits_by_level=levels)
    by_level, by_speaker = bits_tables(Evaluation(SYSTEMS, [Utterance("u", 1.0, "ann", {"a": rendition})], {}))
    assert by_level.columns == ["quiet", "loud"]
    assert by_level.rows == [(SYSTEMS[1], ["3.000", "8.000"])]
    assert by_speaker.columns == ["ann"]
    assert by_speaker.rows == [(SYSTEMS[1], ["5.500"])]
    assert bits_tables(evaluation_of({"a": {"stft": 1.0}})) == []


def test_the_list_starts_with_the_first_model() -> None:
    assert first_system(evaluation_of()) == "a"
    folders = [System("original", "original"), System("world", "baseline"), System("x", "folder")]
    assert first_system(evaluation_of(systems=folders)) == "x"
