"""Training segments: wave and mel are aligned, draws are uniform, and a batch is a function of (seed, number)."""

from collections import Counter
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch

from vocoder.data.dataset import Batch, Margins, SegmentBatches, read_segment
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid
from vocoder.features.pre_emphasis import PreEmphasis

MakeStore = Callable[..., Store]
MARGINS = Margins(history_frames=2, context_frames=3)


def positions(batch: Batch, margins: Margins) -> list[tuple[str, int]]:
    """(utterance, number of its last frame) of each item of a batch from a counting store, whose mels count frames."""
    frames = batch.mel[:, 0, -1 - margins.context_frames].int().tolist()  # frame f has the value 1000 u + f + 1
    return [(id, frame % 1000) for id, frame in zip(batch.ids, frames, strict=True)]


def test_wave_and_mel_of_a_segment_are_aligned(make_counting_store: MakeStore) -> None:
    store = make_counting_store([4, 20])
    wave, mel = read_segment(store, store.entries[1], 8, 5, MARGINS)
    assert np.array_equal(wave, int16_to_grid(np.arange(100 + 60, 100 + 130, dtype=np.int16)))
    assert mel.shape == (4, 13)
    assert (mel == 1001 + np.arange(3, 16)).all()


def test_the_start_of_an_utterance_is_padded_with_silence_and_its_first_mel_frame(
    make_counting_store: MakeStore,
) -> None:
    store = make_counting_store([4, 20])
    wave, mel = read_segment(store, store.entries[1], 1, 4, MARGINS)
    assert np.array_equal(wave, np.append(np.zeros(10, np.float32), int16_to_grid(np.arange(100, 150, dtype=np.int16))))
    assert mel[0].tolist() == [1001] * 4 + [1001 + f for f in range(8)]


def test_the_end_of_an_utterance_is_padded_with_its_last_mel_frame(make_counting_store: MakeStore) -> None:
    store = make_counting_store([6, 5])
    _, mel = read_segment(store, store.entries[0], 4, 2, MARGINS)
    assert mel[0].tolist() == [1, 1, 2, 3, 4, 5, 6, 6, 6, 6]


@pytest.mark.parametrize("start", [0, 1, 2, 3, 10])
def test_a_pre_emphasised_segment_is_that_of_the_whole_wave(speech_store: Store, start: int) -> None:
    entry, recipe = speech_store.entries[0], PreEmphasis(0.85, 0.55)
    plain, mel = read_segment(speech_store, entry, start, 5, MARGINS)
    wave, same_mel = read_segment(speech_store, entry, start, 5, MARGINS, recipe)
    whole = np.pad(recipe.apply(int16_to_grid(speech_store.read(entry).wave)), (2 * 200, 0))
    np.testing.assert_allclose(wave, whole[start * 200 :][: 7 * 200], rtol=0, atol=1e-7)
    assert np.array_equal(mel, same_mel)
    assert not np.allclose(wave, plain, atol=1e-4)
    drawn = SegmentBatches(speech_store, 1, 5, MARGINS, 0, pre_emphasis=recipe)[0].waves
    assert not torch.equal(drawn, SegmentBatches(speech_store, 1, 5, MARGINS, 0)[0].waves)


def test_a_batch_is_a_function_of_seed_and_number(speech_store: Store) -> None:
    def draw(seed: int, step: int) -> Batch:
        return SegmentBatches(speech_store, 4, 10, MARGINS, seed)[step]

    one, again = draw(7, 5), draw(7, 5)
    assert torch.equal(one.waves, again.waves)
    assert torch.equal(one.mel, again.mel)
    assert one.waves.shape == (4, 12 * 200)
    assert one.mel.shape == (4, 80, 18)
    assert not torch.equal(one.waves, draw(7, 6).waves)
    assert not torch.equal(one.waves, draw(8, 5).waves)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_the_first_number(speech_store: Store, workers: int) -> None:
    dataset = SegmentBatches(speech_store, 3, 10, MARGINS, seed=1)
    for step, batch in enumerate(islice(dataset.batches(4, workers, pin_memory=False), 5), start=4):
        assert batch.ids == dataset[step].ids
        assert torch.equal(batch.waves, dataset[step].waves)
        assert torch.equal(batch.mel, dataset[step].mel)


def test_every_segment_of_the_corpus_is_drawn_equally_often(make_counting_store: MakeStore) -> None:
    store = make_counting_store([8, 3, 20, 5])
    dataset = SegmentBatches(store, 100, 5, MARGINS, seed=0)
    counts = Counter(position for number in range(50) for position in positions(dataset[number], MARGINS))
    possible = {(f"u{u}", f) for u, frames in enumerate([8, 3, 20, 5]) for f in range(5, frames + 1)}
    assert counts.keys() == possible
    expected = 5000 / len(possible)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(possible) == 21
    assert chi_square < 45.3  # 99.9th percentile for 20 degrees of freedom


def test_utterances_shorter_than_a_segment_are_counted_and_never_drawn(make_counting_store: MakeStore) -> None:
    dataset = SegmentBatches(make_counting_store([4, 6, 5, 2]), 50, 5, MARGINS, seed=0)
    assert dataset.too_short == 2
    assert {id for step in range(4) for id in dataset[step].ids} == {"u1", "u2"}


def test_a_split_without_a_single_segment_is_refused(make_counting_store: MakeStore) -> None:
    with pytest.raises(UserError, match=r"no training utterance has 7 frames.*segment_frames"):
        SegmentBatches(make_counting_store([4, 6]), 1, 7, MARGINS, seed=0)


def test_a_batch_has_the_speaker_of_each_segment(make_counting_store: MakeStore) -> None:
    dataset = SegmentBatches(make_counting_store([9, 9], speakers=["zoë", "al"]), 20, 5, MARGINS, seed=0)
    batch = dataset[0]
    assert batch.speaker.tolist() == [{"u0": 1, "u1": 0}[id] for id in batch.ids]
    assert set(batch.ids) == {"u0", "u1"}
