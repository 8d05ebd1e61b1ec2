"""Noise: uniform in (0, 1), and a pure function of (seed, utterance, sample)."""

import math

import numpy as np
import pytest
import torch

from vocoder.engines import Noise

UNIFORMS = [1, 2, 4, 5, 11]  # one to three counters for each sample


@pytest.mark.parametrize("uniforms", UNIFORMS)
def test_noise_does_not_depend_on_the_block_boundaries(uniforms: int) -> None:
    noise = Noise(3, ["a", "b"], uniforms)
    whole = noise.block(0, 50)
    assert whole.shape == (2, uniforms, 50)
    for cut in (1, 7, 25, 49):
        assert torch.equal(torch.cat([noise.block(0, cut), noise.block(cut, 50 - cut)], 2), whole)
    assert torch.equal(noise.block(13, 1), whole[..., 13:14])


def test_an_utterances_noise_does_not_depend_on_the_rest_of_the_batch() -> None:
    batch = Noise(3, ["a", "b", "c"], 5).block(10, 20)
    assert torch.equal(Noise(3, ["b"], 5).block(10, 20), batch[1:2])
    assert torch.equal(Noise(3, ["c", "b", "a"], 5).block(10, 20), batch.flip(0))


@pytest.mark.parametrize("uniforms", UNIFORMS)
def test_noise_is_float32_in_the_open_unit_interval(uniforms: int) -> None:
    noise = Noise(0, ["a"], uniforms).block(0, 100_000)
    assert noise.dtype == torch.float32
    assert noise.min() > 0
    assert noise.max() < 1


def test_the_smallest_and_largest_words_stay_inside_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    class ExtremeWords:
        def __init__(self, key: int, counter: int) -> None: ...

        def random_raw(self, count: int) -> np.ndarray:
            return np.resize(np.array([0, 2**64 - 1], np.uint64), count)

    monkeypatch.setattr(np.random, "Philox", ExtremeWords)
    low, high = Noise(0, ["a"], 2).block(0, 1).flatten().tolist()
    assert (low, high) == (2.0**-24, 1 - 2.0**-24)


@pytest.mark.parametrize("row", range(5))
def test_noise_passes_the_kolmogorov_smirnov_test(row: int) -> None:
    n = 50_000
    u = Noise(1, ["a"], 5).block(0, n)[0, row].double().sort().values
    ranks = torch.arange(n)
    distance = max((u - ranks / n).max(), ((ranks + 1) / n - u).max())
    assert distance * math.sqrt(n) < 1.95  # exceeded by one seed in a thousand


def test_rows_samples_utterances_and_seeds_are_uncorrelated() -> None:
    n = 50_000
    rows = Noise(1, ["a", "b", ""], 5).block(0, n).flatten(0, 1)
    rows = torch.cat([rows, torch.cat([rows[:1, 1:], rows[:1, :1]], 1), Noise(2, ["a"], 5).block(0, n)[0]])
    correlation = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlation.abs().max() < 4.5 / math.sqrt(n)


def test_seeds_and_ids_with_the_same_concatenation_differ() -> None:
    assert not torch.equal(Noise(1, ["2a"], 1).block(0, 8), Noise(12, ["a"], 1).block(0, 8))
