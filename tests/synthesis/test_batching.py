"""Utterances share lanes, and do not hear of each other: alone and in any company, the same to the bit."""

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from vocoder.engines import Frame
from vocoder.errors import UserError
from vocoder.kernels import matmul
from vocoder.synthesis import Job, Request, Vocoder, generate

MakeVocoder = Callable[..., Vocoder]
MakeMel = Callable[..., np.ndarray]
LENGTHS = [5, 1, 33, 2, 17, 8, 1, 20, 3, 11, 4, 16, 9]


@pytest.fixture(scope="module")
def requests(make_mel: MakeMel) -> list[Request]:
    return [Request(f"u{i}", make_mel(frames, seed=i)) for i, frames in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def alone(make_vocoder: MakeVocoder, requests: list[Request]) -> list[np.ndarray]:
    vocoder = make_vocoder(threads=1, width=1)
    return [vocoder.synthesize_batch([request])[0] for request in requests]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 64])
def test_a_wave_does_not_depend_on_company_lanes_or_threads(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray], threads: int, width: int
) -> None:
    together = make_vocoder(threads, width).synthesize_batch(requests)
    for frames, wave, expected in zip(LENGTHS, together, alone, strict=True):
        assert wave.shape == (frames * 20,)
        assert np.array_equal(wave, expected)
    assert alone[2].std() > 0.003


@pytest.mark.skipif(not matmul.HAS_BF16, reason="this processor does not multiply bfloat16")
def test_nor_in_bfloat16(make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]) -> None:
    single, many = (make_vocoder(2, width, "bfloat16") for width in (1, 7))
    waves = many.synthesize_batch(requests)
    assert all(np.array_equal(w, single.synthesize_batch([r])[0]) for w, r in zip(waves, requests, strict=True))
    assert not np.array_equal(waves[2], alone[2])
    streamed = np.concatenate(list(many.stream([requests[2].mel], id=requests[2].id)))
    assert np.array_equal(streamed, waves[2])


def test_nor_on_the_order(make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]) -> None:
    vocoder = make_vocoder(width=3)
    jobs = [Job(i, partial(vocoder.frames, requests[i], 0)) for i in (3, 12, 0, 7, 2, 9, 1, 11, 4, 10, 5, 8, 6)]
    waves = dict(generate(vocoder.engine, jobs))
    assert all(np.array_equal(waves[i], expected * 32768) for i, expected in enumerate(alone))


def test_nor_on_torchs_threads(make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]) -> None:
    import torch

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


def test_a_bad_utterance_is_its_own_result_and_the_others_go_on(
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


def test_an_utterance_that_fails_half_way_is_its_own_result(
    make_vocoder: MakeVocoder, requests: list[Request], alone: list[np.ndarray]
) -> None:
    vocoder = make_vocoder(width=3)

    def breaking(request: Request) -> Iterator[Frame]:
        frames = vocoder.frames(request, 0)
        for _ in range(4):
            yield next(frames)
        raise UserError("torn")

    jobs = [Job(i, partial(vocoder.frames, request, 0)) for i, request in enumerate(requests)]
    waves = dict(generate(vocoder.engine, [*jobs[:2], Job(99, partial(breaking, requests[2])), *jobs[2:]]))
    assert str(waves.pop(99)) == "torn"
    assert all(np.array_equal(waves[i], expected * 32768) for i, expected in enumerate(alone))


def test_an_error_that_is_no_users_is_raised_and_no_thread_stays(
    make_vocoder: MakeVocoder, requests: list[Request]
) -> None:
    vocoder = make_vocoder()

    def failing() -> Iterator[Frame]:
        raise ZeroDivisionError
        yield

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(generate(vocoder.engine, [Job(0, partial(vocoder.frames, requests[0], 0)), Job(1, failing)]))
    assert threading.active_count() == before


def test_leaving_early_stops_the_work(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    taken = []
    vocoder = make_vocoder(width=1, threads=1)

    def frames(i: int) -> Iterator[Frame]:
        taken.append(i)
        yield from vocoder.frames(Request(str(i), make_mel(1)), 0)

    results = generate(vocoder.engine, [Job(i, partial(frames, i)) for i in range(10_000)])
    assert next(results)[0] == 0
    time.sleep(0.5)  # nobody takes what is done: the work waits
    before = len(taken)
    assert before < 12
    results.close()
    assert len(taken) <= before + 1


def test_only_what_is_at_work_takes_memory(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    vocoder, open_now, most = make_vocoder(threads=2, width=4), set(), 0

    def frames(i: int) -> Iterator[Frame]:
        nonlocal most
        open_now.add(i)
        most = max(most, len(open_now))
        yield from vocoder.frames(Request(str(i), make_mel(2, i)), 0)
        open_now.discard(i)

    assert len(list(generate(vocoder.engine, [Job(i, partial(frames, i)) for i in range(100)]))) == 100
    assert most <= 2 * 4 + 2


def test_the_memory_of_an_utterance_at_work_does_not_grow_with_it(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    vocoder = make_vocoder()

    def most(frames: int) -> int:
        """Bytes that numpy holds at once, beside the mel, while the frames come one after another."""
        request = Request("a", make_mel(frames))
        tracemalloc.start()
        for _ in vocoder.frames(request, 0):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert most(20_000) < most(2_000) + 20_000 * 8 * 4 + 100_000  # a copy of the mel


@pytest.mark.slow
def test_ten_thousand_tiny_utterances(make_vocoder: MakeVocoder, make_mel: MakeMel) -> None:
    mels = [make_mel(1, seed) for seed in range(50)]
    waves = make_vocoder().synthesize_batch([Request(str(i), mels[i % 50]) for i in range(10_000)])
    assert {wave.shape for wave in waves} == {(20,)}
    assert not np.array_equal(waves[0], waves[50])  # another id, other noise


def test_no_utterance_at_all_is_no_wave(make_vocoder: MakeVocoder) -> None:
    assert make_vocoder().synthesize_batch([]) == []
