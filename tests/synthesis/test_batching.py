"""Continuous batching: each utterance's wave is the same to the bit, whatever else is generated in the batch."""

import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from support.models import HOP, random_mel, random_model

from vocoder.engines import Frame, pick_engine
from vocoder.errors import UserError
from vocoder.kernels import processor
from vocoder.model import ConditioningConfig
from vocoder.synthesis import Request, Task, Vocoder, generate

MakeVocoder = Callable[..., Vocoder]
MakeMel = Callable[..., np.ndarray]
LENGTHS = [5, 1, 33, 2, 17, 8, 1, 20, 3, 11, 4, 16, 9]


def task(vocoder: Vocoder, key: int, request: Request) -> Task[int]:
    return vocoder.task(key, lambda: request, 0)


@pytest.fixture(scope="module")
def requests(make_mel: MakeMel) -> list[Request]:
    return [Request(f"u{i}", make_mel(frames, seed=i)) for i, frames in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def alone(make_vocoder: MakeVocoder, requests: list[Request]) -> list[np.ndarray]:
    vocoder = make_vocoder(threads=1, width=1)
    return [vocoder.synthesize_batch([request])[0] for request in requests]


def test_a_filtered_wave_does_not_depend_on_the_batch(make_vocoder: MakeVocoder, requests: list[Request]) -> None:
    one, many = make_vocoder(threads=1, width=1, postfilter=2), make_vocoder(threads=3, width=2, postfilter=2)
    expected = [one.synthesize_batch([request])[0] for request in requests]
    assert all(np.array_equal(*pair) for pair in zip(many.synthesize_batch(requests), expected, strict=True))


def test_a_finished_task_keeps_no_mel(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    vocoder, mels = make_vocoder(postfilter=1), []

    def read(seed: int) -> Request:
        mel = make_mel(3, seed)
        mels.append(weakref.ref(mel))
        return Request(str(seed), mel)

    tasks = [vocoder.task(i, partial(read, i), 0) for i in range(20)]
    assert len(list(generate(vocoder.engine, tasks))) == 20
    assert [mel() for mel in mels] == [None] * 20


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 64])
def test_a_wave_does_not_depend_on_the_batch_the_lanes_or_the_threads(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray], threads: int, width: int
) -> None:
    together = make_vocoder(threads, width).synthesize_batch(requests)
    for frames, wave, expected in zip(LENGTHS, together, alone, strict=True):
        assert wave.shape == (frames * 20,)
        assert np.array_equal(wave, expected)
    assert alone[2].std() > 0.003


@pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")
def test_a_bfloat16_wave_does_not_depend_on_the_lanes_or_on_streaming(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]
) -> None:
    single, many = (make_vocoder(2, width, "bfloat16") for width in (1, 7))
    waves = many.synthesize_batch(requests)
    assert all(np.array_equal(w, single.synthesize_batch([r])[0]) for w, r in zip(waves, requests, strict=True))
    assert not np.array_equal(waves[2], alone[2])
    streamed = np.concatenate(list(many.stream([requests[2].mel], id=requests[2].id)))
    assert np.array_equal(streamed, waves[2])


def test_a_wave_does_not_depend_on_the_order_of_the_tasks(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]
) -> None:
    vocoder = make_vocoder(width=3)
    tasks = [task(vocoder, i, requests[i]) for i in (3, 12, 0, 7, 2, 9, 1, 11, 4, 10, 5, 8, 6)]
    waves = dict(generate(vocoder.engine, tasks))
    assert all(np.array_equal(waves[i], expected * 32768) for i, expected in enumerate(alone))


def test_a_wave_does_not_depend_on_torchs_threads_and_leaves_their_number_unchanged(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        waves = make_vocoder().synthesize_batch(requests[:5])
        streamed = list(make_vocoder().stream([requests[2].mel], id=requests[2].id))
        assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(wave, expected) for wave, expected in zip(waves, alone, strict=False))
    assert np.array_equal(np.concatenate(streamed), alone[2])


def test_a_bad_request_yields_an_error_and_the_others_their_waves(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray], make_mel: MakeMel
) -> None:
    bad = [
        Request("nan", np.full((8, 4), np.nan, np.float32)),
        Request("empty", make_mel(0)),
        Request("bands", make_mel()[:5]),
        Request("flat", make_mel()[0]),
        Request("speaker", make_mel(), "eve"),
    ]
    mixed = [requests[0], *bad[:2], requests[1], *bad[2:], *requests[2:]]
    waves = dict(make_vocoder(width=2).synthesize_each(mixed))
    assert len(waves) == len(mixed)
    wrong = {mixed[i].id: str(wave) for i, wave in waves.items() if isinstance(wave, UserError)}
    assert wrong.keys() == {request.id for request in bad}
    for id, word in {"nan": "NaN", "empty": "no frames", "bands": "5 bands", "speaker": "eve"}.items():
        assert word in wrong[id]
    good = {mixed[i].id: wave for i, wave in waves.items() if mixed[i] not in bad}
    for request, expected in zip(requests, alone, strict=True):
        assert np.array_equal(good[request.id], expected * 32768)


def test_a_task_that_fails_halfway_yields_an_error_and_the_others_their_waves(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]
) -> None:
    vocoder = make_vocoder(width=3)

    def failing(request: Request) -> Iterator[Frame]:
        frames = task(vocoder, 0, request).frames()
        for _ in range(4):
            yield next(frames)
        raise UserError("unreadable")

    tasks = [task(vocoder, i, request) for i, request in enumerate(requests)]
    waves = dict(generate(vocoder.engine, [*tasks[:2], Task(99, partial(failing, requests[2])), *tasks[2:]]))
    assert str(waves.pop(99)) == "unreadable"
    assert all(np.array_equal(waves[i], expected * 32768) for i, expected in enumerate(alone))


def test_other_errors_are_raised_and_all_threads_end(make_vocoder: MakeVocoder, requests: list[Request]) -> None:
    vocoder = make_vocoder()

    def failing() -> Iterator[Frame]:
        raise ZeroDivisionError
        yield

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(generate(vocoder.engine, [task(vocoder, 0, requests[0]), Task(1, failing)]))
    assert threading.active_count() == before


def test_closing_the_iterator_stops_the_workers(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    started = []
    vocoder = make_vocoder(width=1, threads=1)

    def frames(i: int) -> Iterator[Frame]:
        started.append(i)
        yield from task(vocoder, i, Request(str(i), make_mel(1))).frames()

    results = generate(vocoder.engine, [Task(i, partial(frames, i)) for i in range(10_000)])
    assert next(results)[0] == 0
    time.sleep(0.5)  # nobody takes results, so the worker waits at the full queue
    before = len(started)
    assert before < 12
    results.close()
    assert len(started) <= before + 1


def test_only_running_tasks_have_an_open_iterator(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    vocoder, opened, most = make_vocoder(threads=2, width=4), set(), 0

    def frames(i: int) -> Iterator[Frame]:
        nonlocal most
        opened.add(i)
        most = max(most, len(opened))
        yield from task(vocoder, i, Request(str(i), make_mel(2, i))).frames()
        opened.discard(i)

    assert len(list(generate(vocoder.engine, [Task(i, partial(frames, i)) for i in range(100)]))) == 100
    assert most <= 2 * 4 + 2


def test_the_memory_of_a_running_utterance_does_not_grow_with_its_length(
    make_vocoder: MakeVocoder, make_mel: MakeMel
) -> None:
    vocoder = make_vocoder()

    def peak_memory(frames: int) -> int:
        """Peak of traced bytes, besides the mel, while iterating over the frames."""
        request = Request("a", make_mel(frames))
        tracemalloc.start()
        for _ in task(vocoder, 0, request).frames():
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_memory(5_000) < peak_memory(500) + 5_000 * 8 * 4 + 25_000  # the mel is copied once, as 8 float32 bands


@pytest.mark.slow
def test_ten_thousand_utterances_of_one_frame() -> None:
    """One layer and no conditioning, since this tests the batching."""
    model = random_model(layers=1, stacks=1, conditioning=ConditioningConfig("none"))
    vocoder = Vocoder(model, pick_engine(model, "cpu", threads=2))
    mels = random_mel(batch=50, frames=1).numpy() - 2
    waves = vocoder.synthesize_batch([Request(str(i), mels[i % 50]) for i in range(10_000)])
    assert {wave.shape for wave in waves} == {(HOP,)}
    assert not np.array_equal(waves[0], waves[50])  # the same mel with another id, so with other noise


def test_lanes_refilled_many_times_with_conditioned_utterances(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    vocoder, mels = make_vocoder(), [make_mel(1, seed) for seed in range(50)]
    waves = vocoder.synthesize_batch([Request(str(i), mels[i % 50]) for i in range(500)])
    for i in (0, 257, 499):
        assert np.array_equal(waves[i], vocoder.synthesize_batch([Request(str(i), mels[i % 50])])[0])


def test_an_empty_batch_gives_no_waves(make_vocoder: MakeVocoder) -> None:
    assert make_vocoder().synthesize_batch([]) == []
