"""The summary of an evaluation: means, bootstrap intervals, spreads over seeds; and its way through JSON."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from vocoder.evaluation.results import (
    Artefact,
    Evaluation,
    Rendition,
    System,
    Utterance,
    confidence_interval,
)


def evaluation(values: list[float | None]) -> Evaluation:
    """Utterances of one system whose PESQ are these; None has no value."""
    utterances = [
        Utterance(str(i), 1.0, None, {"a": Rendition("a.wav", {} if value is None else {"pesq_wb": value})})
        for i, value in enumerate(values)
    ]
    return Evaluation([System("a", "model")], utterances, {})


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=40)
    low, high = confidence_interval(values)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=1).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.06 * width)
    assert high == pytest.approx(expected.high, abs=0.06 * width)
    assert confidence_interval(values) == (low, high)  # the same in every call


def test_a_summary_is_over_the_utterances_that_have_a_value() -> None:
    found = evaluation([1.0, None, 3.0, 2.0]).summary("a", "pesq_wb")
    assert found is not None
    assert found.mean == 2.0
    assert found.count == 3
    assert 1.0 <= found.low < 2.0 < found.high <= 3.0
    assert found.seed_spread is None
    assert evaluation([None]).summary("a", "pesq_wb") is None
    assert evaluation([1.0]).summary("another", "pesq_wb") is None


def test_the_spread_over_seeds_is_that_of_their_means() -> None:
    seeds = [[1.0, 2.0, 6.0], [3.0, 2.0, 4.0]]  # of two utterances; the means of seeds are 2, 2 and 5
    renditions = [Rendition("", {"mos": float(np.mean(v))}, [{"mos": value} for value in v]) for v in seeds]
    utterances = [Utterance(str(i), 1.0, None, {"a": r}) for i, r in enumerate(renditions)]
    found = Evaluation([System("a", "model")], utterances, {}).summary("a", "mos")
    assert found is not None
    assert found.seed_spread == pytest.approx(np.sqrt(3.0))  # of 2, 2, 5, with n - 1


def test_an_utterance_survives_json() -> None:
    rendition = Rendition(
        "wavs/a/x.wav", {"mos": 3.0}, [{"mos": 2.0}, {"mos": 4.0}], [Artefact("click", 0.5, 0.51)], {"quiet": (8.0, 2)}
    )
    utterance = Utterance("x", 1.5, "ann", {"a": rendition})
    assert Utterance.from_json(json.loads(json.dumps(asdict(utterance)))) == utterance
