"""Training segments: aligned, drawn uniformly, and a function of (seed, step) alone."""

from collections import Counter
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch

from vocoder.data.dataset import Batch, SegmentBatches, Shape, segment
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid

MakeStore = Callable[..., Store]
SHAPE = Shape(history_frames=2, context_frames=3)


def starts(batch: Batch, shape: Shape) -> list[tuple[str, int]]:
    """Which utterance and start frame each item is, read off the mel of a counting store."""
    frames = batch.mel[:, 0, -1 - shape.context_frames].int().tolist()  # of the segment's last frame
    return [(id, frame % 1000) for id, frame in zip(batch.ids, frames, strict=True)]


def test_a_segment_is_the_wave_and_mel_of_its_frames(make_counting_store: MakeStore) -> None:
    store = make_counting_store([4, 20])
    wave, mel = segment(store, store.entries[1], 8, 5, SHAPE)
    assert np.array_equal(wave, int16_to_grid(np.arange(100 + 60, 100 + 130, dtype=np.int16)))
    assert mel.shape == (4, 13)
    assert (mel == 1001 + np.arange(3, 16)).all()


def test_before_an_utterance_there_is_silence_and_its_first_mel_frame(make_counting_store: MakeStore) -> None:
    store = make_counting_store([4, 20])
    wave, mel = segment(store, store.entries[1], 1, 4, SHAPE)
    assert np.array_equal(wave, np.append(np.zeros(10, np.float32), int16_to_grid(np.arange(100, 150, dtype=np.int16))))
    assert mel[0].tolist() == [1001] * 4 + [1001 + f for f in range(8)]


def test_after_an_utterance_its_last_mel_frame_goes_on(make_counting_store: MakeStore) -> None:
    store = make_counting_store([6, 5])
    _, mel = segment(store, store.entries[0], 4, 2, SHAPE)
    assert mel[0].tolist() == [1, 1, 2, 3, 4, 5, 6, 6, 6, 6]


def test_a_batch_is_a_function_of_seed_and_step(speech_store: Store) -> None:
    def draw(seed: int, step: int) -> Batch:
        return SegmentBatches(speech_store, 4, 10, SHAPE, seed)[step]

    one, again = draw(7, 5), draw(7, 5)
    assert torch.equal(one.waves, again.waves)
    assert torch.equal(one.mel, again.mel)
    assert one.waves.shape == (4, 12 * 200)
    assert one.mel.shape == (4, 80, 18)
    assert not torch.equal(one.waves, draw(7, 6).waves)
    assert not torch.equal(one.waves, draw(8, 5).waves)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_no_batch_and_any_step_can_come_first(speech_store: Store, workers: int) -> None:
    dataset = SegmentBatches(speech_store, 3, 10, SHAPE, seed=1)
    for step, batch in enumerate(islice(dataset.batches(4, workers, pin_memory=False), 5), start=4):
        assert batch.ids == dataset[step].ids
        assert torch.equal(batch.waves, dataset[step].waves)
        assert torch.equal(batch.mel, dataset[step].mel)


def test_every_start_in_the_corpus_is_drawn_equally_often(make_counting_store: MakeStore) -> None:
    store = make_counting_store([8, 3, 20, 5])
    dataset = SegmentBatches(store, 100, 5, SHAPE, seed=0)
    counts = Counter(start for step in range(50) for start in starts(dataset[step], SHAPE))
    possible = {(f"u{u}", f) for u, frames in enumerate([8, 3, 20, 5]) for f in range(5, frames + 1)}
    assert counts.keys() == possible
    expected = 5000 / len(possible)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(possible) == 21
    assert chi_square < 45.3  # 20 degrees of freedom: exceeded by one seed in a thousand


def test_an_utterance_shorter_than_a_segment_is_counted_and_never_drawn(make_counting_store: MakeStore) -> None:
    dataset = SegmentBatches(make_counting_store([4, 6, 5, 2]), 50, 5, SHAPE, seed=0)
    assert dataset.too_short == 2
    assert {id for step in range(4) for id in dataset[step].ids} == {"u1", "u2"}


def test_a_split_without_a_single_segment_is_refused(make_counting_store: MakeStore) -> None:
    with pytest.raises(UserError, match=r"no training utterance has 7 frames.*segment_frames"):
        SegmentBatches(make_counting_store([4, 6]), 1, 7, SHAPE, seed=0)


def test_a_batch_names_the_speaker_of_each_segment(make_counting_store: MakeStore) -> None:
    dataset = SegmentBatches(make_counting_store([9, 9], speakers=["zoë", "al"]), 20, 5, SHAPE, seed=0)
    batch = dataset[0]
    assert batch.speaker.tolist() == [{"u0": 1, "u1": 0}[id] for id in batch.ids]
    assert set(batch.ids) == {"u0", "u1"}
