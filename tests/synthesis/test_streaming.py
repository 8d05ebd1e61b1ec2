"""Streaming equals synthesis of the whole mel, to the bit, and each frame is out as soon as its context arrived."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vocoder.errors import UserError
from vocoder.synthesis import Vocoder

FRAMES = 41


@pytest.mark.parametrize("postfilter", [0, 3])
@pytest.mark.parametrize("size", [1, 2, 5, 16, 40, 100])
def test_a_stream_equals_the_whole_to_the_bit(
    make_vocoder: Callable[..., Vocoder], make_mel, size: int, postfilter: int
) -> None:
    vocoder, mel = make_vocoder(postfilter=postfilter), make_mel(FRAMES)
    chunks = [mel[:, i : i + size] for i in range(0, FRAMES, size)]
    pieces = list(vocoder.stream(chunks, seed=3, id="a", temperature=0.9))
    assert {piece.shape for piece in pieces} == {(20,)}
    assert np.array_equal(np.concatenate(pieces), vocoder.synthesize(mel, seed=3, id="a", temperature=0.9))


@pytest.mark.parametrize("postfilter", [0, 1])
def test_a_frame_is_out_as_soon_as_its_context_has_arrived(
    make_vocoder: Callable[..., Vocoder], make_mel, postfilter: int
) -> None:
    vocoder, mel = make_vocoder(postfilter=postfilter), make_mel(FRAMES)
    arrived = 0

    def chunks() -> Iterator[np.ndarray]:
        nonlocal arrived
        for frame in mel.T:
            arrived += 1
            yield frame[:, None]

    waited = []
    for generated, _ in enumerate(vocoder.stream(chunks()), start=1):
        waited.append(arrived - generated)
        if arrived < FRAMES and not postfilter:
            assert waited[-1] == vocoder.model.context_frames
    assert max(waited) == vocoder.model.context_frames + vocoder.postfilter.delay


def test_empty_chunks_are_ignored_and_an_empty_stream_yields_nothing(
    make_vocoder: Callable[..., Vocoder], make_mel
) -> None:
    vocoder, mel = make_vocoder(), make_mel(5)
    assert list(vocoder.stream([])) == []
    pieces = list(vocoder.stream([mel[:, :0], mel[:, :2], mel[:, :0], mel[:, 2:]]))
    assert np.array_equal(np.concatenate(pieces), vocoder.synthesize(mel))


def test_a_bad_chunk_is_refused_when_it_arrives(make_vocoder: Callable[..., Vocoder], make_mel) -> None:
    vocoder = make_vocoder()
    bad = np.full((8, 1), np.nan, np.float32)
    stream = vocoder.stream([make_mel(10), bad])
    pieces = [next(stream) for _ in range(10 - vocoder.model.context_frames)]
    assert len(pieces) == 8
    with pytest.raises(UserError, match="NaN"):
        next(stream)
