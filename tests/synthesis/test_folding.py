"""Folded synthesis: pieces cover the utterance, joins keep the power, and the speech is like the unfolded one."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vocoder.engines import Noise
from vocoder.model import VocoderModel
from vocoder.synthesis import Request, Task, Vocoder, generate
from vocoder.synthesis.folding import (
    FADE_FRAMES,
    MAX_PIECES,
    MIN_LENGTH_RATIO,
    Piece,
    crossfade,
    frames_of_piece,
    join_pieces,
    pieces_of,
)


@pytest.mark.parametrize("frames", [1, 2, 30, 100, 333, 5000])
def test_pieces_cover_the_utterance_and_depend_on_the_mel_and_the_model_alone(
    model: VocoderModel, make_mel, frames: int
) -> None:
    mel = make_mel(frames)
    pieces = pieces_of(mel, model)
    assert pieces == pieces_of(mel.copy(), model)
    assert (pieces[0].first, pieces[0].start, pieces[-1].stop) == (0, 0, frames)
    for before, after in pairwise(pieces):
        assert before.stop == after.start + FADE_FRAMES
        assert after.first == max(0, after.start - model.history_frames)
        assert after.stop - after.start >= MIN_LENGTH_RATIO * (model.history_frames + FADE_FRAMES) / 2
    assert len(pieces) <= MAX_PIECES
    assert len(pieces) == max(1, min(MAX_PIECES, frames // (MIN_LENGTH_RATIO * (model.history_frames + FADE_FRAMES))))


def test_cuts_are_at_quiet_frames(model: VocoderModel) -> None:
    mel = np.zeros((8, 100), np.float32)
    quiet = [28, 43, 79]
    mel[:, quiet] = -9
    cuts = [piece.start for piece in pieces_of(mel, model)[1:]]
    assert set(cuts) & set(quiet)
    length = 100 / (len(cuts) + 1)
    for i, cut in enumerate(cuts, start=1):
        low, high = round((i - 0.25) * length), round((i + 0.25) * length)
        assert cut in quiet or not set(quiet) & set(range(low, high))


def test_pieces_with_the_whole_past_as_warm_up_join_to_the_unfolded_wave(make_vocoder, make_mel) -> None:
    vocoder, mel = make_vocoder(), make_mel(60)
    noise = Noise(0, ["a"], vocoder.model.distribution.uniforms)
    pieces = [Piece(0, 0, 31), Piece(0, 30, 60)]
    tasks = [Task(i, lambda p=p: frames_of_piece(vocoder.model, mel, noise, None, p)) for i, p in enumerate(pieces)]
    waves = dict(generate(vocoder.engine, tasks))
    whole = vocoder.synthesize_batch([Request("a", mel)])[0]
    assert np.array_equal(join_pieces([waves[0], waves[1]], pieces, 20), whole * 32768)


@pytest.mark.parametrize("first", [3, 20, 41])
def test_a_piece_gets_the_conditioning_and_the_noise_of_its_place(make_vocoder, make_mel, first: int) -> None:
    vocoder, mel = make_vocoder(), make_mel(60)
    noise = Noise(0, ["a"], vocoder.model.distribution.uniforms)
    lead = vocoder.model.history_frames
    piece = list(frames_of_piece(vocoder.model, mel, noise, None, Piece(first, first + lead, 60)))
    whole = list(vocoder.task(0, lambda: Request("a", mel), 0).frames())
    assert [frame.forced is not None for frame in piece] == [True] * lead + [False] * (60 - first)
    for ours, theirs in zip(piece[lead:], whole[lead + first :], strict=True):
        np.testing.assert_allclose(ours.knots, theirs.knots, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.filters, theirs.filters, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.noise, theirs.noise, rtol=0, atol=1e-5)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.99])
def test_a_crossfade_keeps_the_power(correlation: float) -> None:
    rng, n = np.random.default_rng(0), 200_000
    old = rng.standard_normal(n)
    new = correlation * old + np.sqrt(1 - correlation**2) * rng.standard_normal(n)
    faded = crossfade(old, new)
    for part in np.array_split(faded, 10):
        assert part.std() == pytest.approx(1, abs=0.02)


def test_a_crossfade_of_equal_or_silent_waves_changes_nothing() -> None:
    wave = np.random.default_rng(0).standard_normal(200)
    np.testing.assert_allclose(crossfade(wave, wave), wave, atol=1e-12)
    assert not crossfade(np.zeros(200), np.zeros(200)).any()


def test_folded_speech_has_the_length_and_the_level_of_the_unfolded(
    make_vocoder: Callable[..., Vocoder], make_mel
) -> None:
    vocoder, mel = make_vocoder(), make_mel(400)
    request = Request("a", mel)
    generated: list[int] = []
    folded = vocoder.synthesize_folded(request, 3, temperature=0.9, progress=generated.append)
    whole = vocoder.synthesize_batch([request], 3, temperature=0.9)[0] * 32768
    assert len(pieces_of(mel, vocoder.model)) > 5
    assert folded.shape == whole.shape
    assert folded.std() == pytest.approx(whole.std(), rel=0.1)
    assert sum(generated) >= len(whole)
    assert np.array_equal(vocoder.synthesize_folded(replace(request), 3, temperature=0.9), folded)
    assert np.array_equal(vocoder.synthesize(mel, 3, temperature=0.9, id="a", fold=True) * 32768, folded)


def test_a_short_utterance_is_not_cut(make_vocoder: Callable[..., Vocoder], make_mel) -> None:
    vocoder, request = make_vocoder(), Request("a", make_mel(10))
    assert np.array_equal(vocoder.synthesize_folded(request), vocoder.synthesize_batch([request])[0] * 32768)
