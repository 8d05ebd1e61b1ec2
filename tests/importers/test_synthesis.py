"""An imported model is an ordinary one: it is saved, loaded, streamed and folded, and its pre-emphasis is undone."""

from pathlib import Path

import numpy as np
import pytest

from scripts.experiments.compare_r9y9 import imported
from scripts.experiments.r9y9_variants import CLASSES, VARIANTS, Variant
from vocoder.engines import pick_engine
from vocoder.evaluation.likelihood import frame_bits
from vocoder.features.audio import grid_to_int16, int16_to_grid
from vocoder.model import VocoderModel
from vocoder.synthesis import Vocoder, load
from vocoder.synthesis.folding import pieces_of

RECIPE = {"postprocess": "inv_preemphasis", "global_gain_scale": 0.55}
KINDS = {
    "pre-emphasis": Variant("current", RECIPE),
    "classes": Variant("current", {**CLASSES, "global_gain_scale": 0.8}),
    "picture": VARIANTS["ReLU between stages"],
}
FRAMES = 70


def quiet(model: VocoderModel) -> VocoderModel:
    """Random networks are loud, and clip."""
    if model.distribution.channels == 9:
        model.wavenet.output.weight.data.mul_(0.02)
        model.wavenet.output.bias.data[3:6] *= 0.02
        model.wavenet.output.bias.data[6:] = -6
    return model


def mel_of(model: VocoderModel, frames: int = FRAMES) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((model.spec.n_mels, frames)) - 6).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("postfilter", [0, 2])
def test_a_stream_equals_the_whole_to_the_bit(kind: str, postfilter: int, tmp_path: Path) -> None:
    model = quiet(imported(tmp_path, KINDS[kind]).model)
    vocoder, mel = Vocoder(model, pick_engine(model, "cpu"), postfilter), mel_of(model)
    whole = vocoder.synthesize(mel, seed=1)
    for size in (1, 33):
        chunks = [mel[:, i : i + size] for i in range(0, FRAMES, size)]
        assert np.array_equal(np.concatenate(list(vocoder.stream(chunks, seed=1))), whole)
    assert len(np.unique(whole)) > 10


def test_a_folded_utterance_ends_with_the_de_emphasis_of_the_whole(tmp_path: Path) -> None:
    model = quiet(imported(tmp_path, KINDS["pre-emphasis"]).model)
    vocoder, mel = Vocoder(model, pick_engine(model, "cpu"), 0), mel_of(model, 400)
    folded = vocoder.synthesize(mel, fold=True)
    plain = Vocoder(quiet(imported(tmp_path, Variant("current")).model), None, 0)
    y = int16_to_grid((plain.synthesize(mel, fold=True) * 32768).astype(np.int16)).astype(np.float64)
    expected = np.zeros(len(y) + 1)
    for t, value in enumerate(y):
        expected[t + 1] = value + 0.85 * expected[t]
    assert np.abs(np.clip(expected[1:] / 0.55, -1, 1) - folded).max() <= 1 / 32768
    assert np.abs(folded).max() < 1
    assert len(pieces_of(mel, model)) > 1


def test_a_saved_model_loads_as_any_other_and_draws_the_same(tmp_path: Path) -> None:
    found = imported(tmp_path, KINDS["pre-emphasis"])
    found.save(tmp_path / "model")
    loaded = load(tmp_path / "model", postfilter=0)
    assert loaded.model.pre_emphasis == found.config.pre_emphasis
    mel = mel_of(found.model, 8)
    assert np.array_equal(loaded.synthesize(mel), Vocoder(found.model, None, 0).synthesize(mel))
    assert loaded.synthesize(mel).shape == (8 * 12,)


def test_the_likelihood_of_a_recording_is_that_of_its_pre_emphasis(tmp_path: Path) -> None:
    emphasised = quiet(imported(tmp_path, KINDS["pre-emphasis"]).model)
    plain = quiet(imported(tmp_path, Variant("current")).model)
    wave = (1000 * np.random.default_rng(1).standard_normal(8 * 12)).astype(np.int16)
    x = int16_to_grid(wave).astype(np.float64)
    y = 0.55 * (x - 0.85 * np.concatenate(([0.0], x[:-1])))
    mel = mel_of(plain, 8)
    np.testing.assert_allclose(frame_bits(emphasised, wave, mel), frame_bits(plain, grid_to_int16(y), mel), rtol=1e-3)
